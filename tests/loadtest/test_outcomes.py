import gevent
import pytest

from contract.vocabulary import Outcome
from loadtest.outcomes import FAILURES, Failure, outcome_of_answer, outcome_of_fault


@pytest.mark.parametrize(
    ("status", "from_origin", "outcome"),
    [
        (200, True, Outcome.OK),
        (200, False, Outcome.OK),
        (303, False, Outcome.OK),
        (404, True, Outcome.OK),
        (403, True, Outcome.OK),
        (502, True, Outcome.OK),
        (403, False, Outcome.BLOCKED),
        (400, False, Outcome.BAD_REQUEST),
        (404, False, Outcome.BAD_REQUEST),
        (431, False, Outcome.BAD_REQUEST),
        (502, False, Outcome.BAD_GATEWAY),
        (503, False, Outcome.UNAVAILABLE),
        (504, False, Outcome.GATEWAY_TIMEOUT),
    ],
)
def test_the_edges_statuses_are_told_from_an_origins(status: int, from_origin: bool, outcome: Outcome) -> None:
    assert outcome_of_answer(status, from_origin) is outcome


class Wrapped(Exception):
    def __init__(self, original: BaseException) -> None:
        self.original = original


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (TimeoutError(), Outcome.TIMEOUT),
        (gevent.Timeout(1), Outcome.TIMEOUT),
        (Wrapped(TimeoutError()), Outcome.TIMEOUT),
        (ConnectionResetError(), Outcome.RESET),
        (ConnectionRefusedError(), Outcome.RESET),
        (Wrapped(BrokenPipeError()), Outcome.RESET),
    ],
)
def test_no_answer_is_a_timeout_or_a_reset(fault: BaseException, outcome: Outcome) -> None:
    assert outcome_of_fault(fault) is outcome


def test_every_outcome_but_ok_has_its_words_and_locust_shows_them_bare() -> None:
    assert set(FAILURES) == set(Outcome) - {Outcome.OK}
    assert len(set(FAILURES.values())) == len(FAILURES)
    assert repr(Failure(Outcome.BAD_GATEWAY)) == str(Failure(Outcome.BAD_GATEWAY)) == "502 Bad Gateway"
