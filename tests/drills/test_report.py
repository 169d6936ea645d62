"""The report: one file without network, true to its score; and every key of the score is documented."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.record import Event, NodeSample
from contract.vocabulary import EventKind, Outcome, RunVerdict
from drills import charts
from drills.objective import Objective
from drills.report import MINUTES_2019, headline, percent, read_score, render, seconds, write_report
from drills.rundir import RunDir, RunNotFound, link_latest
from drills.score import Score, conclude, score, score_paths
from drills.traffic import requests_of
from tests.fakes.record import NODES, make_record, write_run

RECORD = make_record()
SCORE = conclude(
    score(RECORD), [Objective("timing_s.act", at_most=1), Objective("bad_ratio.peak", at_most=0.5)], False
)
NBSP = "\u00a0"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = write_run(tmp_path_factory.mktemp("runs"), RECORD)
    link_latest(run)
    write_report(run, SCORE)
    return run


@pytest.fixture(scope="module")
def page(run_dir: RunDir) -> str:
    return (run_dir.path / "report.html").read_text()


def body(page: str) -> str:
    """The page's own words, without the scripts and with plain spaces."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL).replace(NBSP, " ")


def figure() -> dict[str, Any]:
    return charts.figure(RECORD, requests_of(RECORD), SCORE.moments_s)


def test_the_score_is_written_and_read_back(run_dir: RunDir) -> None:
    assert read_score(run_dir) == SCORE
    assert json.loads((run_dir.path / "report.json").read_text())["timing_s"]["push_to_recovered"] == 10.5


def test_a_run_without_a_score_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no report\.json"):
        read_score(RunDir(tmp_path))
    (tmp_path / "report.json").write_text('{"drill": 1}')
    with pytest.raises(RunNotFound, match="no report of this version"):
        read_score(RunDir(tmp_path))


def test_the_page_is_one_file_that_asks_the_network_for_nothing(page: str) -> None:
    assert len(page.encode()) < 6_000_000
    assert "Plotly.react(" in page
    assert len(page) > 4_000_000, "plotly.js is within"
    assert not re.search(r"""(src|href)\s*=\s*["'](https?:)?//""", body(page))
    assert "@import" not in body(page)


def test_the_page_shows_what_the_score_says(page: str) -> None:
    words = body(page)
    for shown in (
        "90.0 % of requests failed at the worst, on 8 nodes; traffic was back 10.5 s after the push.",
        "objectives not met",
        "bad_ratio.peak 0.8998 is over 0.5",
        "of 8,598 sent, 1,544 by 502",
        "72 node-seconds, 19 sites, 4 regions",
        "99.4 % of quota",
        "912.5 MiB",
        "2 July 2019",
        "[D] derived by arithmetic from the times in blog.cloudflare.com",
    ):
        assert shown in words, shown
    assert words.count("✓ met") == 1
    assert words.count("✕ not met") == 1
    for node in NODES:
        assert f"<b>{node}</b>" in words


def test_raw_files_are_linked_and_exist(run_dir: RunDir, page: str) -> None:
    links = re.findall(r'<a href="([^"]+)"', body(page))
    assert {"events.jsonl", "samples.jsonl", "run.json", "logs/traffic.jsonl", "report.json"} <= set(links)
    assert "report.html" not in links
    assert all((run_dir.path / link).is_file() for link in links)


def test_2019_adds_up_and_is_shown_with_its_own_drill_only() -> None:
    assert MINUTES_2019 == {"detect": 3, "diagnose": 15, "decide": 2, "act": 5, "recover": 2}
    other = msgspec.structs.replace(SCORE, drill="another")
    assert "[D]" not in body(render(RECORD, other, ()))


def test_words_of_the_run_cannot_break_out_of_the_page() -> None:
    evil = "</script><script>alert(1)</script>"
    head = msgspec.structs.replace(RECORD.head, drill=evil, settings={"x": evil}, environment={})
    samples = tuple(
        msgspec.structs.replace(s, node=evil) if isinstance(s, NodeSample) and s.node == "ams-1" else s
        for s in RECORD.samples
    )
    record = msgspec.structs.replace(RECORD, head=head, samples=samples)
    assert evil not in render(record, score(record), (evil,))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "90.0 % of requests failed at the worst, on 8 nodes; traffic was back 10.5 s after the push."),
        ({"bad_ratio.peak": 0.0004}, "No wall: never more than 0.040 % of requests failed after the push."),
        ({"bad_ratio.peak": None}, "There was too little traffic to say how bad the worst five seconds were."),
        ({"moments_s.push": None}, "Nothing was pushed in this run."),
        (
            {"timing_s.push_to_recovered": None},
            "90.0 % of requests failed at the worst, on 8 nodes, and traffic did not recover in this run.",
        ),
        (
            {"timing_s.push_to_recovered": None, "moments_s.rollback": None},
            "90.0 % of requests failed at the worst, on 8 nodes, and nothing was rolled back.",
        ),
    ],
)
def test_the_headline_says_the_run_in_a_sentence(changes: dict[str, float | None], sentence: str) -> None:
    changed = SCORE
    for path, value in changes.items():
        part, _, key = path.partition(".")
        inner = msgspec.structs.replace(getattr(changed, part), **{key: value})
        changed = msgspec.structs.replace(changed, **{part: inner})
    assert headline(changed).replace(NBSP, " ") == sentence


@pytest.mark.parametrize("verdict", list(RunVerdict))
def test_every_verdict_and_every_gap_renders(verdict: RunVerdict) -> None:
    """Nothing pushed, nothing sampled, nothing sent: still a page."""
    bare = msgspec.structs.replace(RECORD, events=(), samples=(), traffic=(), access=(), origins=())
    page = render(bare, msgspec.structs.replace(score(bare), verdict=verdict), ())
    assert "Nothing was pushed in this run." in page
    assert f'class="pill {verdict.value}"' in page
    untouched = msgspec.structs.replace(
        RECORD, events=tuple(e for e in RECORD.events if e.kind != EventKind.ROLLBACK)
    )
    assert "nothing was rolled back" in render(untouched, score(untouched), ())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0 s"), (0.114, "114 ms"), (8.01, "8.01 s"), (10.5, "10.5 s"), (1620.0, "27.0 min")],
)
def test_durations_read_well(value: float | None, text: str) -> None:
    assert seconds(value).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(None, "-"), (0.0, "0 %"), (0.000313, "0.031 %"), (0.004, "0.40 %"), (0.8998, "90.0 %"), (1.0, "100 %")],
)
def test_ratios_read_well(ratio: float | None, text: str) -> None:
    assert percent(ratio).replace(NBSP, " ") == text


# ---- The figure ----


def test_the_bars_hold_every_request_once() -> None:
    totals = {str(t["name"]): sum(t["y"]) for t in figure()["data"] if t["type"] == "bar"}
    assert totals == {
        "ok": SCORE.requests.ok,
        "502 Bad Gateway": SCORE.requests.bad_gateway,
        "other failures": SCORE.requests.other_failures,
        "refused by a rule": SCORE.requests.refused,
        "never sent": SCORE.requests.unsent,
    }


def test_outcomes_have_a_colour_each() -> None:
    requests = {outcome: msgspec.structs.replace(requests_of(RECORD)[0], outcome=outcome) for outcome in Outcome}
    colours = {outcome: charts.outcome_of(request) for outcome, request in requests.items()}
    assert colours[Outcome.OK] == "ok"
    assert colours[Outcome.BAD_GATEWAY] == "bad_gateway"
    assert colours[Outcome.TIMEOUT] == colours[Outcome.UNAVAILABLE] == "other"
    assert colours[Outcome.BLOCKED] == "refused"


def maps() -> dict[str, dict[str, Any]]:
    return {str(t["yaxis"]): t for t in figure()["data"] if t["type"] == "heatmap"}


def test_the_maps_show_each_node_at_each_moment() -> None:
    versions, cpu = maps()["y2"], maps()["y3"]
    assert versions["y"] == cpu["y"] == list(NODES)
    at = {x: i for i, x in enumerate(cpu["x"])}
    assert [row[at[-5.125]] for row in versions["text"]] == ["v1"] * 8
    assert [row[at[5.125]] for row in versions["text"]] == ["v2"] * 8
    assert [row[at[5.125]] for row in cpu["z"]] == [60.0, *[100.0] * 7]
    assert [row[at[-5.125]] for row in cpu["z"]] == [10.0] * 8


def test_a_rule_set_is_shown_from_its_ack_on_and_never_before() -> None:
    """Samples come every 0.25 s; the ack is what says when."""
    acks = [
        Event(at, EventKind.ACK, "deployer", "", {"node": "ams-1", "version": version, "phase": "push"})
        for at, version in ((20.3, 2), (24.9, 3))
    ]
    late = tuple(s for s in RECORD.samples if not (isinstance(s, NodeSample) and 20.0 < s.t < 23.0))
    record = msgspec.structs.replace(RECORD, events=(*RECORD.events, *acks), samples=late)
    versions = next(
        t for t in charts.figure(record, requests_of(record), SCORE.moments_s)["data"] if t.get("yaxis") == "y2"
    )
    row = dict(zip(versions["x"], versions["text"][0], strict=True))
    assert (row[0.125], row[0.375]) == ("v1", "v2")  # 20.125 and 20.375 s
    assert (row[4.875], row[5.125]) == ("v2", "v2")  # a sample of 25.0 s is newer than the ack of 24.9 s


def test_nodes_stand_in_the_fleets_order_and_off_is_said() -> None:
    samples = tuple(
        msgspec.structs.replace(s, kill_switch=s.t > 40) if isinstance(s, NodeSample) else s
        for s in reversed(RECORD.samples)
    )
    ordered = tuple(sorted(samples, key=lambda sample: sample.t))
    record = msgspec.structs.replace(RECORD, samples=ordered)
    data = charts.figure(record, requests_of(record), SCORE.moments_s)["data"]
    versions = next(t for t in data if t.get("yaxis") == "y2")
    assert versions["y"] == list(NODES)
    assert {row[-1] for row in versions["text"]} == {"inspection off"}


def test_the_figure_does_not_grow_with_the_run() -> None:
    long = msgspec.structs.replace(RECORD, end=4000.0)
    cells = charts.figure(long, requests_of(long), SCORE.moments_s)["data"]
    assert all(len(t["x"]) <= charts.CELLS for t in cells if t["type"] == "heatmap")


def test_marks_stand_where_they_happened_and_no_label_on_another() -> None:
    moments = charts.moments_to_mark(SCORE.moments_s)
    assert [words for _, words, _ in moments] == [
        "push",
        "page",
        "decision",
        "rollback",
        "last node effective",
        "reverted",
        "recovered",
    ]
    layout = charts.figure(RECORD, requests_of(RECORD), SCORE.moments_s)["layout"]
    assert [round(shape["x0"], 3) for shape in layout["shapes"]] == [0, 2.0, 10.0, 10.01, 10.124, 10.13, 10.5]


@pytest.mark.parametrize(
    ("boxes", "levels"),
    [
        ([], []),
        ([(0, 50), (100, 50)], [0, 0]),
        ([(0, 50), (40, 50)], [1, 0]),
        ([(0, 50), (1, 50), (2, 50)], [2, 1, 0]),
        ([(0, 100), (60, 20), (90, 50)], [1, 0, 0]),
        ([(0, 100), (60, 50), (90, 50)], [2, 1, 0]),
    ],
)
def test_labels_are_staggered(boxes: list[tuple[float, float]], levels: list[int]) -> None:
    assert charts.stagger(boxes) == levels


# ---- The documentation ----


def test_every_key_of_the_report_is_documented_and_nothing_else_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    first_cells = re.findall(r"^\|([^|]+)\|", text, flags=re.MULTILINE)
    named = {key for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)}
    files = {"report.html", "report.json", "run.json", "events.jsonl", "samples.jsonl"}
    logs = {"logs/traffic.jsonl", "logs/access-<node>.jsonl", "logs/origins.jsonl"}
    assert len(score_paths()) > 90
    assert named - files - logs == set(score_paths())


def test_the_score_has_no_key_that_the_page_could_not_decode() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SCORE), type=Score).objectives == SCORE.objectives
