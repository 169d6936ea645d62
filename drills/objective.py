"""Objectives: what a drill asks of its run, as bounds on keys of the score.

A drill file lists them; `weigh` holds each against a score and says the result in a sentence with numbers.
What was not measured is not met: silence is not health.
"""

from collections.abc import Iterable

import msgspec

Value = float | str | None


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A bound on one key of the score. `score`: its dotted path, for example `bad_ratio.peak`.

    `as_shipped`: holds for the drill as it ships, and is skipped when somebody changed it with `--set`.
    Raises ValueError when no bound is given, or when a text bound stands beside a numeric one.
    """

    score: str
    at_most: float | None = None
    at_least: float | None = None
    equals: str | None = None
    as_shipped: bool = False

    def __post_init__(self) -> None:
        numeric = self.at_most is not None or self.at_least is not None
        if numeric == (self.equals is not None):
            raise ValueError(f"objective {self.score}: give at_most, at_least or both, or else equals")

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.equals is not None:
            return f"is {self.equals}"
        parts = []
        if self.at_least is not None:
            parts.append(f"at least {number(self.at_least)}")
        if self.at_most is not None:
            parts.append(f"at most {number(self.at_most)}")
        return " and ".join(parts)


class ObjectiveResult(msgspec.Struct, frozen=True):
    """What became of one objective. `met`: null when it was skipped."""

    score: str
    bound: str
    value: Value
    met: bool | None
    sentence: str


def number(value: float) -> str:
    """A number as people write it: four significant digits, no trailing zeros, no exponent."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text else f"{value:.6f}".rstrip("0") if "e-" in text else text


def weigh(score: object, objectives: Iterable[Objective], changed: bool) -> tuple[ObjectiveResult, ...]:
    """Hold each objective against `score`. `changed`: the drill was altered by `--set`."""
    return tuple(_weigh_one(score, objective, changed) for objective in objectives)


def _weigh_one(score: object, objective: Objective, changed: bool) -> ObjectiveResult:
    value = lookup(score, objective.score)
    if objective.as_shipped and changed:
        sentence = f"{objective.score} was not judged: the drill was changed by --set"
        return ObjectiveResult(objective.score, objective.bound, value, None, sentence)
    met, words = _compare(value, objective)
    return ObjectiveResult(objective.score, objective.bound, value, met, f"{objective.score} {words}")


def _compare(value: Value, objective: Objective) -> tuple[bool, str]:
    if value is None:
        return False, "was not measured"
    if objective.equals is not None:
        met = str(value) == objective.equals
        return met, f"is {value}" if met else f"is {value}, not {objective.equals}"
    if isinstance(value, str):
        return False, f"is {value}, which is no number"
    if objective.at_least is not None and value < objective.at_least:
        return False, f"{number(value)} is under {number(objective.at_least)}"
    if objective.at_most is not None and value > objective.at_most:
        return False, f"{number(value)} is over {number(objective.at_most)}"
    return True, f"{number(value)} is {objective.bound}"


def lookup(score: object, path: str) -> Value:
    """The value at a dotted path; None where there is none, or something on the way is null.

    What is no scalar counts as its text. Raises nothing: unknown paths are refused when the drill is read.
    """
    found: object = score
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    if found is None or isinstance(found, str):
        return found
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else str(found)
