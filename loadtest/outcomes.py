"""What became of a request, as its sender sees it, and how Locust's Failures tab words it. Pure."""

import gevent

from contract.vocabulary import Outcome

#: Statuses that the edge makes itself; any other one below 400, and any above, came through from a site.
EDGE_STATUSES: dict[int, Outcome] = {
    403: Outcome.BLOCKED,
    502: Outcome.BAD_GATEWAY,
    503: Outcome.UNAVAILABLE,
    504: Outcome.GATEWAY_TIMEOUT,
}

FAILURES: dict[Outcome, str] = {
    Outcome.BLOCKED: "403 Forbidden (blocked by a rule)",
    Outcome.BAD_GATEWAY: "502 Bad Gateway",
    Outcome.UNAVAILABLE: "503 Service Unavailable",
    Outcome.GATEWAY_TIMEOUT: "504 Gateway Timeout",
    Outcome.BAD_REQUEST: "refused by the edge as malformed or over a limit (4xx)",
    Outcome.CLIENT_GONE: "cut off: the test was stopped before the answer",
    Outcome.RESET: "connection refused, reset or cut short",
    Outcome.TIMEOUT: "no answer within the client's deadline",
    Outcome.UNSENT: "unsent: no Locust user was free to send it in time",
}


class Failure(Exception):
    """A failure in Locust's statistics, shown as its text alone: Locust prints the repr of what it is given."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(FAILURES[outcome])

    def __repr__(self) -> str:
        return str(self)


def outcome_of_answer(status: int, from_origin: bool) -> Outcome:
    """The outcome of an answered request. Whatever an origin said counts as ok: the edge did its work."""
    if from_origin:
        return Outcome.OK
    if status in EDGE_STATUSES:
        return EDGE_STATUSES[status]
    return Outcome.BAD_REQUEST if 400 <= status < 500 else Outcome.OK


def outcome_of_fault(fault: BaseException) -> Outcome:
    """The outcome of a request that got no whole answer, from what its HTTP client raised."""
    # The client wraps what it might have tried again; the first cause is inside.
    cause = getattr(fault, "original", None) or fault
    return Outcome.TIMEOUT if isinstance(cause, (TimeoutError, gevent.Timeout)) else Outcome.RESET
