"""`RuleSet` in, `CompiledRuleSet` out: what an inspector runs. Every pattern compiles or the set is refused.

Backtracking rules become one `re` search each and are run on every input. Linear rules of one target become
one google-re2 Set, which is twenty times cheaper than one search a rule.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

from contract.vocabulary import Engine, Target
from rules.model import Rule, RuleSet, RuleSetError

Search = Callable[[str], object | None]

#: The order in which a request's parts are looked at.
TARGET_ORDER = (Target.URI, Target.ARGS, Target.HEADERS, Target.BODY)


@dataclass(frozen=True, slots=True)
class TargetProgram:
    """What to run on one target: (rule index, search) in order, then the Set, whose results index into
    `linear_rules`."""

    target: Target
    backtracking: tuple[tuple[int, Search], ...]
    linear: Callable[[str], list[int] | None] | None
    linear_rules: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CompiledRuleSet:
    """Programs by target; an index is a rule's position in `rules`."""

    name: str
    rules: tuple[Rule, ...]
    programs: tuple[TargetProgram, ...]


def compile_rule_set(rule_set: RuleSet) -> CompiledRuleSet:
    """Compile every pattern. Raises RuleSetError naming rule and position of the first that does not."""
    searches = {
        index: _compile_backtracking(rule)
        for index, rule in enumerate(rule_set.rules)
        if rule_set.engine_of(rule) is Engine.BACKTRACKING
    }
    programs = tuple(_program(rule_set, target, searches) for target in TARGET_ORDER)
    return CompiledRuleSet(rule_set.name, rule_set.rules, programs)


def _program(rule_set: RuleSet, target: Target, searches: dict[int, Search]) -> TargetProgram:
    mine = [index for index, rule in enumerate(rule_set.rules) if target in rule.targets]
    linear_rules = tuple(index for index in mine if index not in searches)
    return TargetProgram(
        target,
        backtracking=tuple((index, searches[index]) for index in mine if index in searches),
        linear=_compile_linear([rule_set.rules[index] for index in linear_rules]),
        linear_rules=linear_rules,
    )


def _compile_backtracking(rule: Rule) -> Search:
    try:
        return re.compile(rule.pattern).search
    except re.error as fault:
        raise RuleSetError(
            f"rule {rule.id}: pattern does not compile at position {fault.pos}: {fault.msg}"
        ) from None
    except (RecursionError, OverflowError) as fault:
        raise RuleSetError(f"rule {rule.id}: pattern does not compile: {fault}") from None


def _compile_linear(rules: list[Rule]) -> Callable[[str], list[int] | None] | None:
    if not rules:
        return None
    options = re2.Options()
    options.log_errors = False
    several: Any = re2.Set.SearchSet(options)
    for rule in rules:
        try:
            several.Add(rule.pattern)
        except re2.error:
            raise RuleSetError(f"rule {rule.id}: {_re2_fault(rule.pattern, options)}") from None
    several.Compile()
    match: Callable[[str], list[int] | None] = several.Match
    return match


def _re2_fault(pattern: str, options: Any) -> str:
    """A Set says only that it failed. RE2 by itself names the offending piece; find that in the pattern."""
    try:
        re2.compile(pattern, options)
        text = "too large for a set"
    except re2.error as fault:
        detail = fault.args[0] if fault.args else ""
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    piece = text.rpartition(": ")[2]
    position = pattern.find(piece) if piece else -1
    where = f" at position {position}" if position >= 0 else ""
    return f"pattern does not compile{where} in the linear engine: {text}"
