"""The report of a run: `report.json` for programs, and `report.html` for people, one file that needs no network.

Takes a run's folder and its score, writes both files into that folder. Every number shown comes from the score
or from the record beside it; what is said of 2019 carries its mark and source. Nothing is measured here.
"""

import json
import time
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import msgspec
from plotly.offline import get_plotlyjs

from contract.record import NodeSample
from contract.topology import NODES_BY_NAME, REGION_TITLES
from contract.vocabulary import RunVerdict
from drills import charts
from drills.objective import number
from drills.phases import MACHINES, Timing
from drills.rundir import REPORT_HTML, REPORT_JSON, Record, RunDir, RunNotFound
from drills.score import Score
from drills.traffic import requests_of

#: For what did not happen.
NOTHING = "-"

#: Between a number and its unit: no line may break there.
NBSP = "\u00a0"

#: Below this peak, people would not speak of an outage.
NO_WALL = 0.01

#: The phases in their order, with a colour each that does not rely on hue alone (they are also labelled).
PHASES = {
    "detect": "#5b8db8",
    "diagnose": "#8a7cb8",
    "decide": "#b8a24a",
    "act": "#dd6b20",
    "recover": "#4a9d8e",
}

#: 2 July 2019, minutes: differences of 13:42, 13:45, 14:00, 14:02, 14:07, 14:09, as the public account has them.
MINUTES_2019 = {"detect": 3, "diagnose": 15, "decide": 2, "act": 5, "recover": 2}
SOURCE_2019 = "blog.cloudflare.com/details-of-the-cloudflare-outage-on-july-2-2019 (read through verbatim quotes)"

#: What each category of the reconciliation means, in the words of the report.
CATEGORIES = {
    "matched": "user, front and origin agree",
    "edge_made": "the front answered by itself, and the user saw that answer",
    "retry": "seen more than once on the way, the user's answer among them",
    "lost_with_node": "taken by a front or origin; the user saw a reset or time-out",
    "never_seen": "the user saw a reset or time-out; no front or origin has it",
    "in_flight_at_end": "the run ended first",
    "unexplained": "the logs contradict each other",
    "orphans": "logged, though no user sent it",
}

VERDICTS = {
    RunVerdict.MET: ("✓", "objectives met"),
    RunVerdict.NOT_MET: ("✕", "objectives not met"),
    RunVerdict.INVALID: ("?", "this run cannot be trusted"),
}


def write_report(run_dir: RunDir, score: Score) -> Path:
    """Write `report.json` and `report.html` into the run's folder; returns the latter's path."""
    text = msgspec.json.format(msgspec.json.encode(score), indent=2)
    (run_dir.path / REPORT_JSON).write_bytes(text + b"\n")
    html = run_dir.path / REPORT_HTML
    html.write_text(render(run_dir.load(), score, run_dir.files()), encoding="utf-8")
    return html


def read_score(run_dir: RunDir) -> Score:
    """The score as it was written. Raises RunNotFound when the run has none, or one of another version."""
    path = run_dir.path / REPORT_JSON
    try:
        return msgspec.json.decode(path.read_bytes(), type=Score)
    except FileNotFoundError:
        raise RunNotFound(f"{run_dir.path} has no {REPORT_JSON}: its drill did not get that far") from None
    except msgspec.DecodeError as fault:
        raise RunNotFound(f"{path} is no report of this version: {fault}") from None


def render(record: Record, score: Score, files: tuple[str, ...]) -> str:
    """The page. `files`: the run's raw files, relative to its folder."""
    figure = charts.figure(record, requests_of(record), score.moments_s)
    icon, words = VERDICTS[score.verdict]
    template = _environment().get_template("report.html.j2")
    return template.render(
        score=score,
        record=record,
        icon=icon,
        verdict_words=words,
        headline=headline(score),
        numbers=big_numbers(score),
        phases=phase_rows(score.timing_s),
        compare_2019=score.drill.startswith("cloudflare-2019"),
        total_2019=sum(MINUTES_2019.values()),
        source_2019=SOURCE_2019,
        by_machine=score.decided_by in MACHINES,
        nodes=node_rows(score),
        categories=[(key, getattr(score.reconciliation, key), why) for key, why in CATEGORIES.items()],
        log=log_rows(record, score),
        started=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(score.started_at)),
        cpu_source=cpu_source(record),
        files=files,
        legend=figure.pop("legend"),
        figure=_script_json(figure),
        plotly_js=markupsafe.Markup(get_plotlyjs()),
    )


# ---- Words and rows ----


def headline(score: Score) -> str:
    """The run in one sentence."""
    if score.moments_s.push is None:
        return "Nothing was pushed in this run."
    peak, back = score.bad_ratio.peak, score.timing_s.push_to_recovered
    if peak is None:
        return "There was too little traffic to say how bad the worst five seconds were."
    if peak < NO_WALL:
        return f"No wall: never more than {percent(peak)} of requests failed after the push."
    worst = f"{percent(peak)} of requests failed at the worst, on {_count(score.blast_radius.nodes, 'node')}"
    if back is None:
        never_tried = score.moments_s.rollback is None
        return (
            f"{worst}, and {'nothing was rolled back' if never_tried else 'traffic did not recover in this run'}."
        )
    return f"{worst}; traffic was back {seconds(back)} after the push."


def big_numbers(score: Score) -> list[tuple[str, str, str]]:
    """(label, number, what it says) of the tiles."""
    timing, blast, requests = score.timing_s, score.blast_radius, score.requests
    failed = requests.bad_gateway + requests.other_failures
    places = f"{_count(blast.node_seconds, 'node-second')}, {_count(blast.sites, 'site')}"
    worst_act = max((took for took in score.act_s_by_node.values() if took is not None), default=None)
    return [
        ("worst five seconds", percent(score.bad_ratio.peak), "of requests failed"),
        ("push to recovered", seconds(timing.push_to_recovered), _ratios(score)),
        ("rollback on every node", seconds(timing.act), f"slowest node {seconds(worst_act)}"),
        ("failed requests", f"{failed:,}", f"of {requests.sent:,} sent, {requests.bad_gateway:,} by 502"),
        ("blast radius", _count(blast.nodes, "node"), f"{places}, {_count(blast.regions, 'region')}"),
    ]


def _ratios(score: Score) -> str:
    return f"bad before {percent(score.bad_ratio.before)}, after {percent(score.bad_ratio.after)}"


def phase_rows(timing: Timing) -> list[dict[str, Any]]:
    """Each phase with its length, its share of the run's outage, and 2019's."""
    whole = timing.push_to_recovered
    total_2019 = sum(MINUTES_2019.values())
    rows = []
    for name, colour in PHASES.items():
        took: float | None = getattr(timing, name)
        rows.append(
            {
                "name": name,
                "colour": colour,
                "took": took,
                "share": took / whole * 100 if whole and took is not None else 0.0,
                "minutes_2019": MINUTES_2019[name],
                "share_2019": MINUTES_2019[name] / total_2019 * 100,
            }
        )
    return rows


def node_rows(score: Score) -> list[dict[str, Any]]:
    """Each node's act, with the length of its bar in percent of the slowest."""
    slowest = max((took for took in score.act_s_by_node.values() if took is not None), default=0.0)
    rows = []
    for name, took in score.act_s_by_node.items():
        spec = NODES_BY_NAME.get(name)
        where = REGION_TITLES.get(spec.region, spec.region) if spec else ""
        share = took / slowest * 100 if took is not None and slowest else 0.0
        rows.append({"name": name, "where": where, "took": took, "share": share})
    return rows


def log_rows(record: Record, score: Score) -> list[tuple[str, str, str]]:
    """(time, kind, text) of every event, timed from the push."""
    push = score.moments_s.push
    return [
        (f"T{event.t - push:+.2f}" if push is not None else f"{event.t:.2f}", event.kind.value, event.text)
        for event in record.events
    ]


def cpu_source(record: Record) -> str:
    """Who read the inspectors' CPU: a number from inside says so."""
    read = (s for s in record.samples if isinstance(s, NodeSample) and s.cpu_of_quota is not None)
    sources = {sample.cpu_source for sample in read}
    return "as the nodes report it" if "reported" in sources else "read from outside by psutil"


# ---- Numbers as people write them ----


def seconds(value: float | None) -> str:
    """`114 ms`, `8.01 s`, `27 min`: three digits are enough for people. A dash for what did not happen."""
    if value is None:
        return NOTHING
    if 0 < value < 1:
        return f"{value * 1000:.0f}{NBSP}ms"
    if value >= 120:
        return f"{value / 60:.1f}{NBSP}min"
    digits = 0 if value == 0 else 2 if value < 10 else 1
    return f"{value:.{digits}f}{NBSP}s"


def percent(ratio: float | None) -> str:
    if ratio is None:
        return NOTHING
    value = ratio * 100
    digits = 0 if value in (0, 100) else 3 if value < 0.1 else 2 if value < 1 else 1
    return f"{value:.{digits}f}{NBSP}%"


def _count(amount: int, noun: str) -> str:
    return f"{amount:,}{NBSP}{noun}{'' if amount == 1 else 's'}"


def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{number(value)}{NBSP}ms"


def _plain(value: Any) -> str:
    """A setting or a fact of the environment; nested ones as compact JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _script_json(value: Any) -> markupsafe.Markup:
    """JSON that may stand inside a script element: no text in it can close that element."""
    text = msgspec.json.encode(value).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")
    return markupsafe.Markup(text.replace("\u2029", "\\u2029"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("drills", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": seconds,
        "percent": percent,
        "ms": milliseconds,
        "plain": _plain,
        "number": number,
    }
    return environment
