"""The rule language by tables: what parses, what is refused and with which words, what matches."""

import re

import pytest

from contract.vocabulary import Action, Engine, Target
from rules.compile import compile_rule_set
from rules.evaluate import LINEAR_SET, Findings, Inspectable, evaluate
from rules.model import Rule, RuleSet, RuleSetError
from rules.parse import MAX_BYTES, digest_of, parse

GOOD = b"""
name: small
rules:
  - id: a-1
    pattern: 'ev[i1]l'
    targets: [uri, body]
  - id: a-2
    pattern: 'x+'
    targets: [headers]
    action: log
    engine: linear
"""

REFUSED = {
    "name: x\nrules: []": "at least one rule",
    "name: x\nrules: [{id: a, pattern: b, targets: [cookie]}]": "$.rules[0].targets[0]",
    "name: x\nrules: [{id: a, pattern: b, targets: []}]": "$.rules[0].targets",
    "name: x\nrules: [{id: a, pattern: b, targets: [uri], actoin: log}]": "actoin",
    "name: x\nrules: [{id: a, targets: [uri]}]": "pattern",
    "name: x\nrules: [{id: 'a b', pattern: b, targets: [uri]}]": "$.rules[0].id",
    "name: x\nrules: [{id: a, pattern: b, targets: [uri]}, {id: a, pattern: c, targets: [uri]}]": "$.rules[1].id",
    "name: [": "not valid YAML",
    "name: x\nrules: [{id: a, pattern: 5, targets: [uri]}]": "$.rules[0].pattern",
    f"name: x\nrules: [{{id: a, pattern: {'b' * 10_001}, targets: [uri]}}]": "$.rules[0].pattern",
    "name: \xff": "not valid YAML",
}


def one_rule(pattern: str, engine: Engine, action: Action = Action.BLOCK, *targets: Target) -> RuleSet:
    return RuleSet(
        "t", (Rule("r-1", pattern, targets or (Target.URI, Target.ARGS, Target.BODY), action),), engine=engine
    )


def test_a_good_set_keeps_order_defaults_and_overrides() -> None:
    rule_set = parse(GOOD)
    assert [rule.id for rule in rule_set.rules] == ["a-1", "a-2"]
    assert rule_set.rules[0].action is Action.BLOCK
    assert [rule_set.engine_of(rule) for rule in rule_set.rules] == [Engine.BACKTRACKING, Engine.LINEAR]


@pytest.mark.parametrize("yaml", REFUSED)
def test_a_fault_is_refused_in_one_line_that_names_its_place(yaml: str) -> None:
    with pytest.raises(RuleSetError) as refusal:
        parse(yaml.encode("latin-1"))
    assert REFUSED[yaml] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_set_above_the_size_limit_is_refused_unread() -> None:
    with pytest.raises(RuleSetError, match="above the limit"):
        parse(b"#" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("engine", "pattern", "words"),
    [
        (Engine.BACKTRACKING, "ab(c", "rule r-1: pattern does not compile at position 2"),
        (Engine.LINEAR, "ab(?=c)", "rule r-1: pattern does not compile at position 2"),
        (Engine.LINEAR, r"(a)\1", "rule r-1: pattern does not compile"),
    ],
)
def test_a_pattern_that_does_not_compile_names_rule_and_position(
    engine: Engine, pattern: str, words: str
) -> None:
    with pytest.raises(RuleSetError, match=re.escape(words)):
        compile_rule_set(one_rule(pattern, engine))


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize(
    ("uri", "body", "found"),
    [
        (b"/evil", b"", True),
        (b"/good", b"", False),
        (b"/s?q=ev%69l", b"", True),  # arguments are decoded before they are looked at
        (b"/s?a=1&evil", b"", True),
        (b"/", b'{"a": "evil"}', True),
        (b"/", b"\xff\xfe evil", True),  # unreadable bytes hide nothing
        (b"/", b"EVIL", False),
    ],
)
def test_both_engines_find_the_same(engine: Engine, uri: bytes, body: bytes, found: bool) -> None:
    compiled = compile_rule_set(one_rule("evil", engine))
    findings = evaluate(compiled, Inspectable.from_wire(uri, [], body), lambda _: None)
    assert findings == (Findings((0,), 0) if found else Findings((), None))


def test_a_logging_rule_is_executed_and_does_not_block() -> None:
    rules = (
        Rule("log", "evil", (Target.URI, Target.BODY), Action.LOG),
        Rule("block", "evil", (Target.BODY,), Action.BLOCK),
    )
    announced: list[int] = []
    findings = evaluate(
        compile_rule_set(RuleSet("t", rules)), Inspectable.from_wire(b"/evil", [], b"evil"), announced.append
    )
    assert findings == Findings((0, 1), 1)
    assert announced == [0, 0, 1]


def test_the_linear_set_is_announced_as_such() -> None:
    announced: list[int] = []
    evaluate(
        compile_rule_set(one_rule("evil", Engine.LINEAR)),
        Inspectable.from_wire(b"/x", [b"Mozilla"], b""),
        announced.append,
    )
    assert announced == [LINEAR_SET]


def test_the_digest_is_over_the_exact_bytes() -> None:
    assert digest_of(GOOD) != digest_of(GOOD + b"\n")
    assert len(digest_of(GOOD)) == 64
