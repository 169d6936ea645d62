"""What the screen makes of outcomes: four colours of the chart, and the bad ratio.

In: counts by `Outcome` (from Locust, or differences of a node's counters). Out: counts by colour. Pure.
"""

from collections.abc import Mapping
from typing import NamedTuple

from contract.vocabulary import BAD_OUTCOMES, Outcome

#: Served as intended: answered by its origin, or rightly refused by a blocking rule.
SERVED = frozenset({Outcome.OK, Outcome.BLOCKED})


class Split(NamedTuple):
    """Requests by colour of the chart."""

    ok: int
    bad_gateway: int
    other: int
    unsent: int


def split(outcomes: Mapping[str, int]) -> Split:
    """Every outcome lands in exactly one colour; an unknown one in `other`."""
    ok = sum(outcomes.get(outcome, 0) for outcome in SERVED)
    bad_gateway = outcomes.get(Outcome.BAD_GATEWAY, 0)
    unsent = outcomes.get(Outcome.UNSENT, 0)
    return Split(ok, bad_gateway, sum(outcomes.values()) - ok - bad_gateway - unsent, unsent)


def bad_and_ended(outcomes: Mapping[str, int]) -> tuple[int, int]:
    """(bad, answered or timed out), the two parts of the bad ratio. Unsent requests are in neither."""
    bad = sum(outcomes.get(outcome, 0) for outcome in BAD_OUTCOMES)
    return bad, sum(outcomes.values()) - outcomes.get(Outcome.UNSENT, 0)
