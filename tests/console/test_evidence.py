"""The sliding bad ratio, and since when it has been good."""

from console.evidence import BadRatio


def make(*buckets: tuple[float, int, int]) -> BadRatio:
    ratio = BadRatio(window_s=1.0, stale_after_s=2.5)
    for t, bad, ended in buckets:
        ratio.add(t, bad, ended)
    return ratio


def test_only_the_last_window_counts() -> None:
    ratio = make((1.0, 50, 50), (1.5, 0, 50), (2.0, 0, 50))
    assert ratio.ratio() == 0.0
    assert make((1.0, 50, 50), (1.5, 0, 50)).ratio() == 0.5


def test_good_begins_where_the_last_bad_bucket_ended() -> None:
    ratio = make((1.0, 0, 50), (1.5, 40, 50), (2.0, 0, 50))
    assert ratio.good_since is None  # the window still remembers
    ratio.add(2.5, 0, 50)
    assert ratio.good_since == 1.5


def test_a_lone_failure_below_the_objective_does_not_end_the_good() -> None:
    ratio = make((1.0, 0, 75), (1.5, 0, 75), (2.0, 1, 75), (2.5, 0, 75))
    assert ratio.good_since == 1.0


def test_an_empty_bucket_says_nothing_either_way() -> None:
    ratio = make((1.0, 0, 0))
    assert ratio.ratio() is None
    assert ratio.good_since is None
    ratio = make((1.0, 0, 50), (3.0, 0, 0))
    assert ratio.good_since == 1.0


def test_old_evidence_is_not_fresh() -> None:
    ratio = make((1.0, 0, 50))
    assert ratio.fresh(3.5)
    assert not ratio.fresh(3.6)
    assert not make().fresh(0.0)


def test_share_of_502_among_the_bad() -> None:
    ratio = BadRatio(1.0, 2.5)
    ratio.add(1.0, 40, 50, bad_gateway=30)
    assert ratio.bad_gateway_share() == 0.75
