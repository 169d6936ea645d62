"""Author's YAML in, `RuleSet` out; every fault in one line with its key path. Compiles no pattern."""

import hashlib
import re

import msgspec

from rules.model import RuleSet, RuleSetError

#: Far above the 3,868 managed rules of 2019 at their usual length; what is larger is a mistake or an attack.
MAX_BYTES = 4 * 1024 * 1024
MAX_RULES = 5_000
MAX_PATTERN_CHARS = 10_000
#: Ids become metric labels, log fields and words on screen.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def digest_of(yaml: bytes) -> str:
    """A rule set's identity: SHA-256, hex, over the author's exact bytes."""
    return hashlib.sha256(yaml).hexdigest()


def parse(yaml: bytes) -> RuleSet:
    """Read one rule set. Raises RuleSetError."""
    if len(yaml) > MAX_BYTES:
        raise RuleSetError(f"rule set has {len(yaml):,} bytes, above the limit of {MAX_BYTES:,}")
    try:
        rule_set = msgspec.yaml.decode(yaml, type=RuleSet)
    except msgspec.ValidationError as fault:
        raise RuleSetError(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise RuleSetError("not valid YAML: " + " ".join(str(fault).split())) from None
    _check(rule_set)
    return rule_set


def _check(rule_set: RuleSet) -> None:
    """What the types cannot say. Raises RuleSetError."""
    if not rule_set.rules:
        raise RuleSetError("a rule set needs at least one rule - at `$.rules`")
    if len(rule_set.rules) > MAX_RULES:
        raise RuleSetError(f"{len(rule_set.rules)} rules are above the limit of {MAX_RULES} - at `$.rules`")
    seen: dict[str, int] = {}
    for position, rule in enumerate(rule_set.rules):
        path = f"$.rules[{position}]"
        if not _ID.fullmatch(rule.id):
            raise RuleSetError(f"id {rule.id[:70]!r} is not 1-64 of A-Z a-z 0-9 . _ - at `{path}.id`")
        if rule.id in seen:
            raise RuleSetError(f"id {rule.id!r} is already at `$.rules[{seen[rule.id]}].id` - at `{path}.id`")
        if not rule.targets:
            raise RuleSetError(f"rule {rule.id} looks at nothing: name uri, args, headers or body"
                               f" - at `{path}.targets`")  # fmt: skip
        if len(rule.pattern) > MAX_PATTERN_CHARS:
            raise RuleSetError(f"rule {rule.id} has a pattern of {len(rule.pattern):,} characters, above the"
                               f" limit of {MAX_PATTERN_CHARS:,} - at `{path}.pattern`")  # fmt: skip
        seen[rule.id] = position
