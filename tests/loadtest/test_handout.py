from loadtest.handout import Handout
from loadtest.schedule import ScheduledRequest


def due(due_s: float) -> ScheduledRequest:
    return ScheduledRequest(f"1-{due_s}", due_s, "asia", "a.example", "page", "GET", "/", (), b"")


def test_a_free_user_gets_what_is_due_at_once() -> None:
    handout: Handout[str] = Handout(1.0)
    assert handout.ask("ann") is None
    assert handout.offer(due(0.1)) == "ann"
    assert handout.offer(due(0.2)) is None


def test_the_user_that_became_free_last_is_served_first() -> None:
    handout: Handout[str] = Handout(1.0)
    for user in ("ann", "ben", "cyd"):
        handout.ask(user)
    assert [handout.offer(due(0.1)) for _ in range(3)] == ["cyd", "ben", "ann"]


def test_waiting_requests_go_to_whoever_asks_oldest_first() -> None:
    handout: Handout[str] = Handout(1.0)
    first, second = due(0.1), due(0.2)
    handout.offer(first)
    handout.offer(second)
    assert handout.waiting == 2
    assert handout.ask("ann") is first
    assert handout.ask("ben") is second
    assert handout.ask("cyd") is None
    assert handout.offer(due(0.3)) == "cyd"


def test_what_is_too_late_is_given_up_and_never_handed_out() -> None:
    handout: Handout[str] = Handout(1.0)
    late, in_time = due(0.0), due(0.5)
    handout.offer(late)
    handout.offer(in_time)
    assert handout.expired(1.0) == []
    assert handout.expired(1.2) == [late]
    assert handout.ask("ann") is in_time


def test_a_user_that_left_is_not_called() -> None:
    handout: Handout[str] = Handout(1.0)
    handout.ask("ann")
    handout.leave("ann")
    handout.leave("nobody")
    assert handout.offer(due(0.1)) is None


def test_closing_returns_what_will_not_be_sent_and_who_waits() -> None:
    handout: Handout[str] = Handout(1.0)
    request = due(0.1)
    handout.offer(request)
    assert handout.close() == ([request], [])
    handout.ask("ann")
    assert handout.close() == ([], ["ann"])
    assert handout.waiting == 0
    assert handout.offer(due(0.2)) is None
