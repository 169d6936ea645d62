from statistics import median

from origins.latency import MAX_S, delay_s


def draws(seed: int, median_ms: float) -> list[float]:
    return [delay_s(seed, "news.example", "GET", f"/articles/{number}", median_ms) for number in range(2000)]


def test_the_same_request_takes_the_same_time_whatever_came_before() -> None:
    first = delay_s(1, "a.example", "GET", "/", 20.0)
    delay_s.cache_clear()
    draws(1, 20.0)
    assert delay_s(1, "a.example", "GET", "/", 20.0) == first


def test_seed_host_method_and_target_each_matter() -> None:
    times = {
        delay_s(1, "a.example", "GET", "/", 20.0),
        delay_s(2, "a.example", "GET", "/", 20.0),
        delay_s(1, "b.example", "GET", "/", 20.0),
        delay_s(1, "a.example", "POST", "/", 20.0),
        delay_s(1, "a.example", "GET", "/?q", 20.0),
    }
    assert len(times) == 5


def test_times_are_spread_around_the_median_and_bounded() -> None:
    times = draws(3, 20.0)
    assert 0.018 < median(times) < 0.022
    assert 0.045 < sorted(times)[int(0.99 * len(times))] < 0.085
    assert 0 < min(times) < 0.008
    assert max(draws(3, 300.0)) == MAX_S
