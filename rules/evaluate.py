"""One request in, findings out: the loop that an inspector lives in, and where a bad pattern burns.

Nothing here limits how long a search may take: CPython's `re` holds the interpreter for the whole match, so a
limit can only come from outside the process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from contract.vocabulary import Action
from rules.compile import CompiledRuleSet

#: The index announced while a linear Set runs, which has no single rule to name.
LINEAR_SET = 0xFFFF


@dataclass(frozen=True, slots=True)
class Inspectable:
    """A request as rules see it: texts by target, in the order of `rules.compile.TARGET_ORDER`."""

    uri: Sequence[str]
    args: Sequence[str]
    headers: Sequence[str]
    body: Sequence[str]

    @classmethod
    def from_wire(cls, uri: bytes, header_values: Sequence[bytes], body: bytes) -> "Inspectable":
        """Latin-1 loses no byte of URI and headers; a body is read as UTF-8, unreadable bytes replaced."""
        text = uri.decode("latin-1")
        query = text.partition("?")[2]
        return cls(
            uri=(text,),
            args=_argument_values(query) if query else (),
            headers=[value.decode("latin-1") for value in header_values],
            body=(body.decode("utf-8", "replace"),) if body else (),
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """Indices of the rules that matched, in order of discovery; `blocked_by` is the last of them or None."""

    hits: tuple[int, ...]
    blocked_by: int | None


_CLEAN = Findings((), None)


def evaluate(compiled: CompiledRuleSet, request: Inspectable, announce: Callable[[int], None]) -> Findings:
    """Run the set, rule by rule, until one blocks. `announce(index)` is called before each search."""
    hits: dict[int, None] = {}  # in order of discovery, each once
    texts_by_target = (request.uri, request.args, request.headers, request.body)
    rules = compiled.rules
    for program, texts in zip(compiled.programs, texts_by_target, strict=True):
        if not texts:
            continue
        for index, search in program.backtracking:
            announce(index)
            for text in texts:
                if search(text) is not None:
                    hits[index] = None
                    if rules[index].action is Action.BLOCK:
                        return Findings(tuple(hits), index)
                    break
        if program.linear is not None:
            announce(LINEAR_SET)
            for index in _linear_hits(program.linear, program.linear_rules, texts):
                hits[index] = None
                if rules[index].action is Action.BLOCK:
                    return Findings(tuple(hits), index)
    return Findings(tuple(hits), None) if hits else _CLEAN


def _linear_hits(
    match: Callable[[str], list[int] | None], rule_indices: tuple[int, ...], texts: Sequence[str]
) -> list[int]:
    found = {position for text in texts for position in (match(text) or ())}
    return [rule_indices[position] for position in sorted(found)]


def _argument_values(query: str) -> list[str]:
    """Each argument's decoded value; an argument without `=` counts as its own value."""
    values = (part.partition("=") for part in query.split("&") if part)
    return [unquote_plus(value if equals else name) for name, equals, value in values]
