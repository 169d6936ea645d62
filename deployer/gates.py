"""What a rule set has to pass before it is stored, and again before it is shipped. Bytes in, `RuleSet` out.

Synchronous and possibly slow (a compile takes as long as it takes): callers run it in a thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from contract.messages import MAX_CONTROL_BYTES
from rules.compile import compile_rule_set
from rules.model import RuleSet, RuleSetError
from rules.parse import parse

#: An assignment carries two sets in-line, and has to stay below what a node takes in one message.
MAX_SET_BYTES = MAX_CONTROL_BYTES // 2 - 64 * 1024


class Candidate:
    """A rule set on its way through the gates; parsed once, when the first gate needs it."""

    def __init__(self, yaml: bytes) -> None:
        self.yaml = yaml

    @cached_property
    def rule_set(self) -> RuleSet:
        return parse(self.yaml)


@dataclass(frozen=True, slots=True)
class Gate:
    """`check` raises RuleSetError: one line, with key path, or rule and position."""

    name: str
    check: Callable[[Candidate], object]


def pass_gates(yaml: bytes) -> RuleSet:
    """Run every gate in order. Raises the first one's RuleSetError, the gate's name in front."""
    candidate = Candidate(yaml)
    for gate in GATES:
        try:
            gate.check(candidate)
        except RuleSetError as fault:
            raise RuleSetError(f"{gate.name} gate: {fault}") from None
    return candidate.rule_set


def _fits(candidate: Candidate) -> None:
    if len(candidate.yaml) > MAX_SET_BYTES:
        raise RuleSetError(
            f"{len(candidate.yaml):,} bytes are above the {MAX_SET_BYTES:,} that fit twice into an assignment"
        )


#: In this order. Lint, the cost of a pattern and the replay of a corpus are entries to come.
GATES = (
    Gate("size", _fits),
    Gate("schema", lambda candidate: candidate.rule_set),
    Gate("compile", lambda candidate: compile_rule_set(candidate.rule_set)),
)
