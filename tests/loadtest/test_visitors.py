import random

import pytest

from contract.sites import SITES
from loadtest.visitors import DATA_ACCEPT, PAGE_ACCEPT, Crowd, Visitor


def visitor(seed: int = 1) -> Visitor:
    return Visitor(random.Random(seed), SITES[0])


def test_a_visitor_sends_what_a_browser_sends_each_header_once() -> None:
    for seed in range(20):
        names = [name for name, _ in visitor(seed).headers("7-000001", PAGE_ACCEPT)]
        assert len(set(names)) == len(names)
        assert 8 <= len(names) <= 11
        assert {"User-Agent", "Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Referer"} <= set(names)


def test_the_request_id_and_what_is_special_come_with_the_rest() -> None:
    headers = dict(visitor().headers("7-000042", DATA_ACCEPT, ("Content-Type", "application/json")))
    assert headers["X-Client-Request-Id"] == "7-000042"
    assert headers["Content-Type"] == "application/json"
    assert headers["Sec-Fetch-Mode"] == "cors"


def test_the_cookie_stays_with_the_visitor_and_the_referer_follows_the_page() -> None:
    one, other = visitor(1), visitor(2)
    assert one.cookie != other.cookie
    one.page = "/world"
    headers = dict(one.headers("1-1", PAGE_ACCEPT))
    assert headers["Cookie"] == one.cookie
    assert headers["Referer"] == f"https://{SITES[0].host}/world"


def test_a_crowd_is_bounded_and_the_first_leaves_first() -> None:
    crowd = Crowd(3)
    for seed in range(5):
        crowd.arrive(visitor(seed))
    assert len(crowd) == 3


def test_a_visitor_leaves_after_its_last_step_but_never_the_last_visitor() -> None:
    crowd = Crowd(3)
    one, other = visitor(1), visitor(2)
    crowd.arrive(one)
    crowd.arrive(other)
    one.steps_left = other.steps_left = 1
    crowd.step(one)
    assert len(crowd) == 1
    crowd.step(other)
    assert len(crowd) == 1


def test_someone_who_has_read_is_preferred() -> None:
    crowd = Crowd(10)
    for seed in range(10):
        crowd.arrive(visitor(seed))
        if seed >= 5:
            crowd.someone(random.Random(seed), who_has_read=False)
    for one in list(crowd._visitors)[:5]:
        one.item = "/articles/x"
    rng = random.Random(1)
    readers = sum(crowd.someone(rng, who_has_read=True).item is not None for _ in range(300))
    anyone = sum(crowd.someone(rng, who_has_read=False).item is not None for _ in range(300))
    assert readers > 270
    assert 100 < anyone < 200


def test_nobody_is_in_an_empty_crowd() -> None:
    with pytest.raises(IndexError):
        Crowd(3).someone(random.Random(1), who_has_read=False)
