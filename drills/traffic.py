"""The scheduled requests of a run, on the run's own clock: the truth that every measure starts from.

Comes from Locust's log, one line a scheduled request, sent or not. Pure.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from contract.vocabulary import BAD_OUTCOMES, Outcome
from drills.rundir import Record


class Request(msgspec.Struct, frozen=True):
    """One scheduled request. Times in seconds since the run began; `done` None: still in flight at the end.

    `bad`: answered badly (5xx made by the edge), reset or timed out.
    """

    due: float
    sent: float | None
    done: float | None
    node: str
    region: str
    site: str
    outcome: str

    @property
    def answered(self) -> bool:
        """Answered, reset or timed out before the run ended: what a bad ratio is taken over."""
        return self.done is not None

    @property
    def bad(self) -> bool:
        return self.done is not None and self.outcome in BAD_OUTCOMES


def requests_of(record: Record) -> tuple[Request, ...]:
    """All scheduled requests of the run in the order of their due times."""
    return tuple(sorted(_requests(record), key=lambda request: request.due))


def _requests(record: Record) -> Iterable[Request]:
    for line in record.traffic:
        unsent = line.sent is None or line.outcome == Outcome.UNSENT
        ended = line.done is not None and record.clock(line.done) <= record.end
        yield Request(
            due=record.clock(line.due),
            sent=None if unsent or line.sent is None else record.clock(line.sent),
            done=record.clock(line.done) if ended and line.done is not None else None,
            node=line.node,
            region=line.region,
            site=line.site,
            outcome=line.outcome,
        )


def bad_ratio(requests: Iterable[Request]) -> float | None:
    """bad / (answered or timed out); None of nothing."""
    answered = bad = 0
    for request in requests:
        answered += request.answered
        bad += request.bad
    return bad / answered if answered else None


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest-rank percentile (`share` 0-1): a value that was really met, never one between two."""
    ordered: Sequence[float] = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
