from collections import Counter, defaultdict
from itertools import islice, pairwise

import msgspec
import pytest

from contract.sites import SITES
from contract.topology import REGION_SHARES
from loadtest.schedule import MIX, NOUNS, SECTIONS, STEPS, Schedule, ScheduledRequest, schedule_digest
from origins.answers import Answers
from origins.sites import KINDS, SITES_BY_HOST

#: From here on a JSON body without `=` takes the 2019 rule more than 0.1 s of CPU: measured with `re` of CPython
#: 3.11 on bodies of this schedule, 0.1 s at about 1,000 bytes and eight times that per doubling.
DANGEROUS_BYTES = 1_100


def header(request: ScheduledRequest, name: str) -> str | None:
    return dict(request.headers).get(name)


@pytest.fixture(scope="module")
def requests() -> list[ScheduledRequest]:
    return list(islice(Schedule(7), 30_000))


def test_one_seed_is_one_schedule_to_the_last_byte() -> None:
    assert schedule_digest(7, 150, 5) == schedule_digest(7, 150, 5)
    assert schedule_digest(7, 150, 5) != schedule_digest(8, 150, 5)
    assert schedule_digest(7, 150, 5) != schedule_digest(7, 150, 6)


def test_another_rate_moves_the_times_and_leaves_the_requests() -> None:
    slow, fast = (list(islice(Schedule(7, rate), 200)) for rate in (50, 500))
    assert [r.body for r in slow] == [r.body for r in fast]
    assert [r.path for r in slow] == [r.path for r in fast]
    assert slow[-1].due_s == pytest.approx(10 * fast[-1].due_s, rel=1e-4)


def test_requests_come_in_due_order_at_the_rate_with_ids_of_their_own(requests: list[ScheduledRequest]) -> None:
    assert all(one.due_s <= other.due_s for one, other in pairwise(requests))
    assert len({r.id for r in requests}) == len(requests)
    assert requests[122].id == "7-000123"
    assert len(requests) / requests[-1].due_s == pytest.approx(150, rel=0.03)


def test_gaps_are_those_of_a_poisson_process(requests: list[ScheduledRequest]) -> None:
    gaps = [other.due_s - one.due_s for one, other in pairwise(requests)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.05)


def test_a_schedule_ends_after_its_duration() -> None:
    last = list(Schedule(7, 150, 2.0))[-1]
    assert 1.8 < last.due_s < 2.0


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_has_to_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        Schedule(7, rate)


def test_regions_have_their_shares(requests: list[ScheduledRequest]) -> None:
    counts = Counter(r.region for r in requests)
    assert set(counts) == set(REGION_SHARES)
    for region, share in REGION_SHARES.items():
        assert counts[region] / len(requests) == pytest.approx(share, abs=0.01)


def test_sites_follow_zipf(requests: list[ScheduledRequest]) -> None:
    counts = Counter(r.site for r in requests)
    assert len(counts) == len(SITES)
    assert counts[SITES[0].host] / len(requests) == pytest.approx(0.26, abs=0.04)
    tops = [sum(counts[site.host] for site in SITES[start : start + 13]) for start in range(0, 52, 13)]
    assert tops == sorted(tops, reverse=True)


def test_the_mix_adds_up_and_is_met_in_every_part_of_the_run(requests: list[ScheduledRequest]) -> None:
    assert sum(MIX.values()) == pytest.approx(1)
    assert set(STEPS) == set(MIX)
    for start in range(0, 30_000, 10_000):
        part = requests[start : start + 10_000]
        posts = sum(header(r, "Content-Type") == "application/json" for r in part)
        assert posts / len(part) == pytest.approx(MIX["json"], abs=0.015)
        for kind in ("page", "search", "upload", "download", "head"):
            assert sum(r.kind == kind for r in part) / len(part) == pytest.approx(MIX[kind], abs=0.015)


@pytest.mark.parametrize("seed", [1, 7, 2019])
def test_at_least_nine_in_a_hundred_requests_are_dangerous_to_the_rule_of_2019(seed: int) -> None:
    sample = list(islice(Schedule(seed), 20_000))
    dangerous = [
        r
        for r in sample
        if header(r, "Content-Type") == "application/json"
        and len(r.body) >= DANGEROUS_BYTES
        and b"=" not in r.body
    ]
    assert len(dangerous) / len(sample) >= 0.09
    small = sum(r.method == "POST" and len(r.body) < 400 for r in sample)
    assert small / len(sample) > 0.05


def test_everybody_elses_text_is_short_or_has_an_early_equals_sign(requests: list[ScheduledRequest]) -> None:
    for request in requests[:5_000]:
        assert len(request.path) <= 520
        for name, value in request.headers:
            assert len(value) < 600
            assert "=" in value or len(value) < 160 or name == "Referer"
    long_paths = sum(len(r.path) >= 300 for r in requests) / len(requests)
    assert 0.002 < long_paths < 0.02


def test_cookies_belong_to_one_site_and_one_browser(requests: list[ScheduledRequest]) -> None:
    by_cookie = defaultdict(set)
    for request in requests:
        by_cookie[header(request, "Cookie")].add((request.site, header(request, "User-Agent"), request.region))
    assert None not in by_cookie
    assert len(by_cookie) > 500
    assert all(len(owners) == 1 for owners in by_cookie.values())


def test_visitors_make_journeys(requests: list[ScheduledRequest]) -> None:
    """Each step refers to the page before it, and a comment is about what its writer read last."""
    page: dict[str | None, str] = {}
    item: dict[str | None, str] = {}
    referred = commented = 0
    for request in requests[:6_000]:
        visitor = header(request, "Cookie")
        if visitor in page:
            assert header(request, "Referer") == f"https://{request.site}{page[visitor]}"
            referred += 1
        if request.kind == "comment" and visitor in item:
            assert msgspec.json.decode(request.body)["on"] == item[visitor][-80:]
            commented += 1
        if request.kind in ("page", "section", "search", "item"):
            page[visitor] = request.path
        if request.kind == "item":
            item[visitor] = request.path
    assert referred > 3_000
    assert commented > 100


def test_each_request_carries_its_id_and_no_host(requests: list[ScheduledRequest]) -> None:
    for request in requests[:1_000]:
        assert header(request, "X-Client-Request-Id") == request.id
        assert header(request, "Host") is None
        names = [name.lower() for name, _ in request.headers]
        assert len(set(names)) == len(names)


def test_the_origins_know_every_path(requests: list[ScheduledRequest]) -> None:
    answers = Answers(1)
    kinds = Counter[str]()
    for request in requests[:4_000]:
        path, _, query = request.path.partition("?")
        answer = answers.answer(SITES_BY_HOST[request.site], request.method, path, query, request.body)
        assert answer.status < 400, request.path
        kinds[request.kind] += 1
    assert len(kinds) > 15


def test_nouns_and_sections_are_those_of_the_origins() -> None:
    assert {kind: spec.noun for kind, spec in KINDS.items()} == NOUNS
    for kind, sections in SECTIONS.items():
        assert set(sections) <= set(KINDS[kind].sections)
