"""The report's figure: what customers met, and beneath it on the same axis versions, CPU and latency.

A Plotly figure as plain dicts, so that nothing of Plotly is needed but its JavaScript. Time is seconds since the
push (since the run's beginning, when nothing was pushed). Everything is drawn in whole seconds, or in at most
CELLS steps, so the page's size does not grow with the run. Pure.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from contract.record import Event, NodeSample
from contract.topology import NODES_BY_NAME
from contract.vocabulary import EventKind, Outcome
from drills.phases import Marks
from drills.rundir import Record
from drills.traffic import Request, percentile

#: Steps of the maps along the time axis, at most.
CELLS = 480
CPU_MEAN_S = 1.0
CELL_S = 0.25
#: A node that was not sampled for this long leaves a gap.
GAP_S = 3.0

#: Told apart by people with any colour vision, on a light and on a dark page (blue, orange, purple, greys).
COLOURS = {
    "ok": "#2b6cb0",
    "bad_gateway": "#dd6b20",
    "other": "#7b5cc4",
    "refused": "#7fb2d9",
    "unsent": "#9aa5b1",
}
OUTCOME_TITLES = {
    "ok": "ok",
    "bad_gateway": "502 Bad Gateway",
    "other": "other failures",
    "refused": "refused by a rule",
    "unsent": "never sent",
}
#: Lines and labels, legible on a light and on a dark page.
BLUE, ORANGE, PURPLE, YELLOW = "#2f80d0", "#dd6b20", "#8a63d2", "#b7791f"
VERSION_COLOURS = ("#7fa6c9", "#e08a3c", "#9a86cf", "#5aa897", "#c2b04a")
UNPROTECTED, UNPROTECTED_COLOUR = "inspection off", "#8c8c8c"

#: From top to bottom, as shares of the plot's height.
DOMAINS = {"y": (0.70, 1.0), "y2": (0.475, 0.64), "y3": (0.215, 0.415), "y4": (0.0, 0.15)}
PLOT_PX, BOTTOM_PX, LEVEL_PX, PLOT_WIDTH_PX = 740, 46, 17, 1000


def figure(record: Record, requests: Sequence[Request], marks: Marks) -> dict[str, Any]:
    """The whole figure: `data`, `layout`, and the outcomes it really shows (`legend`)."""
    zero = marks.push or 0.0
    start = (min((r.due for r in requests), default=0.0)) - zero
    span = (math.floor(start), math.ceil(record.end - zero))
    bars, shown = _outcome_bars(requests, zero, span)
    samples = [sample for sample in record.samples if isinstance(sample, NodeSample)]
    versions, version_labels = _version_map(samples, record.events, zero, span)
    data = [*bars, _intended_line(requests, zero, span), *versions]
    data += [*_cpu_map(samples, zero, span), *_latency_lines(requests, zero)]
    return {
        "data": data,
        "layout": _layout(span, marks, zero, version_labels, _cpu_title(samples)),
        "legend": [{"title": OUTCOME_TITLES[key], "colour": COLOURS[key]} for key in shown],
    }


# ---- Panels ----


def outcome_of(request: Request) -> str:
    """The colour under which a request that ended is drawn."""
    if request.outcome in (Outcome.OK, Outcome.BAD_GATEWAY):
        return str(request.outcome)
    return "other" if request.bad else "refused"


def _outcome_bars(
    requests: Sequence[Request], zero: float, span: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[str]]:
    seconds: dict[str, Counter[int]] = {key: Counter() for key in COLOURS}
    for request in requests:
        if request.sent is None:
            seconds["unsent"][math.floor(request.due - zero)] += 1
        elif request.done is not None:
            seconds[outcome_of(request)][math.floor(request.done - zero)] += 1
    grid = range(*span)
    shown = [key for key in COLOURS if seconds[key]]
    bars = [
        {
            "type": "bar",
            "name": OUTCOME_TITLES[key],
            "x": [second + 0.5 for second in grid],
            "y": [seconds[key][second] for second in grid],
            "marker": {"color": COLOURS[key], "line": {"width": 0}},
            "hovertemplate": "%{y} " + OUTCOME_TITLES[key] + "<extra></extra>",
        }
        for key in shown
    ]
    return bars, shown


def _intended_line(requests: Sequence[Request], zero: float, span: tuple[int, int]) -> dict[str, Any]:
    due = Counter(math.floor(request.due - zero) for request in requests)
    grid = range(*span)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "intended",
        "x": [second + 0.5 for second in grid],
        "y": [due[second] or None for second in grid],
        "line": {"shape": "hvh", "width": 1.5, "dash": "dot"},
        "meta": "ink",
        "hovertemplate": "%{y} intended<extra></extra>",
    }


def _middles(span: tuple[int, int]) -> list[float]:
    """The middles of the maps' cells."""
    step = max(CELL_S, (span[1] - span[0]) / CELLS)
    return [round(span[0] + step * (i + 0.5), 3) for i in range(int((span[1] - span[0]) / step))]


def _by_node(samples: Iterable[NodeSample]) -> dict[str, list[NodeSample]]:
    """Each node's samples, nodes in the order of the default fleet, strangers after it."""
    found: dict[str, list[NodeSample]] = defaultdict(list)
    for sample in samples:
        found[sample.node].append(sample)
    order = {name: place for place, name in enumerate(NODES_BY_NAME)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def _measured(series: Sequence[NodeSample], moments: Sequence[float]) -> list[NodeSample | None]:
    """For each run second the sample that speaks of it: the next one, as a sample tells of the time before it."""
    times = [sample.t for sample in series]
    found: list[NodeSample | None] = []
    for moment in moments:
        after = bisect.bisect_left(times, moment)
        near = after < len(series) and times[after] - moment <= GAP_S
        found.append(series[after] if near else None)
    return found


def _versions(
    series: Sequence[NodeSample], acks: Iterable[tuple[float, str]], moments: Sequence[float]
) -> list[str | None]:
    """For each run second the rule set that the node was last known to run, by its acks and samples."""
    told = sorted([*((sample.t, _version_of(sample)) for sample in series), *acks], key=lambda known: known[0])
    times = [at for at, _ in told]
    found: list[str | None] = []
    for moment in moments:
        until = bisect.bisect_right(times, moment)
        near = until > 0 and moment - times[until - 1] <= GAP_S
        found.append(told[until - 1][1] if near else None)
    return found


def _version_of(sample: NodeSample) -> str | None:
    if sample.kill_switch:
        return UNPROTECTED
    return sample.version.label if sample.version else None


def _acks(events: Iterable[Event]) -> dict[str, list[tuple[float, str]]]:
    """Node to (run second, rule set) of what it confirmed: sharper than any sample."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for event in events:
        if event.kind is EventKind.ACK and "version" in event.data:
            label = UNPROTECTED if event.data.get("kill_switch") else f"v{event.data['version']}"
            found[str(event.data.get("node"))].append((event.t, label))
    return found


def _version_map(
    samples: Iterable[NodeSample], events: Iterable[Event], zero: float, span: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    by_node, acks, middles = _by_node(samples), _acks(events), _middles(span)
    moments = [middle + zero for middle in middles]
    rows = [_versions(series, acks.get(node, ()), moments) for node, series in by_node.items()]
    names = list(dict.fromkeys(name for row in rows for name in row if name))
    if not names:
        return [], []
    palette = iter(VERSION_COLOURS * (1 + len(names) // len(VERSION_COLOURS)))
    colours = [UNPROTECTED_COLOUR if name == UNPROTECTED else next(palette) for name in names]
    scale = [[(i + edge) / len(names), colour] for i, colour in enumerate(colours) for edge in (0, 1)]
    trace = {
        "type": "heatmap",
        "x": middles,
        "y": list(by_node),
        "z": [[None if name is None else names.index(name) for name in row] for row in rows],
        "text": [[name or "" for name in row] for row in rows],
        "zmin": -0.5,
        "zmax": len(names) - 0.5,
        "colorscale": scale,
        "showscale": False,
        "ygap": 2,
        "yaxis": "y2",
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    return [trace], _stretches(middles, rows)


def _stretches(middles: Sequence[float], rows: Sequence[Sequence[str | None]]) -> list[dict[str, Any]]:
    """Where to write a version's name: over the middle of each stretch in which the whole fleet runs it."""
    common = [cells[0] if len(set(cells)) == 1 else None for cells in zip(*rows, strict=True)]
    row = (len(rows) // 2 + 0.5) / max(1, len(rows))  # upon a node's band, not between two
    labels: list[dict[str, Any]] = []
    first = 0
    for i in range(1, len(common) + 1):
        if i < len(common) and common[i] == common[first]:
            continue
        if common[first] is not None and i - first > len(common) / 40:
            labels.append(
                {"x": (middles[first] + middles[i - 1]) / 2, "y": row, "text": f"<b>{common[first]}</b>"}
            )
        first = i
    return labels


def _cpu_map(samples: Sequence[NodeSample], zero: float, span: tuple[int, int]) -> list[dict[str, Any]]:
    by_node, middles = _by_node(samples), _middles(span)
    moments = [middle + zero for middle in middles]
    rows = [_cpu_row(series, moments) for series in by_node.values()]
    if not any(cell is not None for row in rows for cell in row):
        return []
    bar = {"len": 0.2, "y": 0.315, "thickness": 9, "outlinewidth": 0, "ticksuffix": " %", "nticks": 3, "x": 1.005}
    trace = {
        "type": "heatmap",
        "x": middles,
        "y": list(by_node),
        "z": rows,
        "zmin": 0,
        "zmax": 100,
        "meta": "cpu",
        "colorbar": bar,
        "ygap": 2,
        "yaxis": "y3",
        "hovertemplate": "%{y}: %{z} % of quota<extra></extra>",
    }
    return [trace]


def _cpu_row(series: Sequence[NodeSample], moments: Sequence[float]) -> list[float | None]:
    """Percent of quota, a mean over CPU_MEAN_S: the system counts CPU in hundredths of a second, and in one
    sample of a small quota that is a third of it."""
    times = [sample.t for sample in series]
    row: list[float | None] = []
    for sample in _measured(series, moments):
        if sample is None:
            row.append(None)
            continue
        first, last = (bisect.bisect_right(times, t) for t in (sample.t - CPU_MEAN_S, sample.t))
        read = [one.cpu_of_quota for one in series[first:last] if one.cpu_of_quota is not None]
        row.append(round(sum(read) / len(read) * 100, 1) if read else None)
    return row


def _cpu_title(samples: Iterable[NodeSample]) -> str:
    sources = {sample.cpu_source for sample in samples if sample.cpu_of_quota is not None}
    how = "as the nodes report it" if "reported" in sources else "read from outside the node"
    return f"CPU of each node's inspectors, % of its quota, {how}"


def _latency_lines(requests: Iterable[Request], zero: float) -> list[dict[str, Any]]:
    seconds: dict[int, list[float]] = defaultdict(list)
    for request in requests:
        if request.done is not None:
            seconds[math.floor(request.done - zero)].append((request.done - request.due) * 1000)
    grid = sorted(seconds)
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [second + 0.5 for second in grid],
            "y": [round(percentile(seconds[second], share) or 0.0, 2) for second in grid],
            "line": {"color": colour, "width": 2, "dash": dash},
            "yaxis": "y4",
            "hovertemplate": name + " %{y:.0f} ms<extra></extra>",
        }
        for name, share, colour, dash in (("p50", 0.5, BLUE, "dash"), ("p99", 0.99, ORANGE, "solid"))
    ]


# ---- Layout and marks ----


def _layout(
    span: tuple[int, int], marks: Marks, zero: float, versions: list[dict[str, Any]], cpu_title: str
) -> dict[str, Any]:
    shapes, labels, levels = _mark_shapes(marks, zero, span)
    top_px = 24 + levels * LEVEL_PX
    in_map = {"xref": "x", "yref": "y2 domain", "showarrow": False, "font": {"color": "#10202f"}}
    axis_titles = {
        "y2": "Rule set on each node",
        "y3": cpu_title,
        "y4": "Latency from the intended moment, ms: "
        f"<span style='color:{BLUE}'>p50 - -</span> and <span style='color:{ORANGE}'>p99</span>",
    }
    titles = [_text(0, DOMAINS[axis][1], f"<b>{title}</b>", yshift=14) for axis, title in axis_titles.items()]
    layout: dict[str, Any] = {
        "height": PLOT_PX + top_px + BOTTOM_PX,
        "margin": {"l": 58, "r": 62, "t": top_px, "b": BOTTOM_PX},
        "barmode": "stack",
        "bargap": 0,
        "hovermode": "x unified",
        "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "shapes": shapes,
        "annotations": [*labels, *titles, *({**in_map, **label} for label in versions)],
        "xaxis": {
            "range": list(span),
            "anchor": "y4",
            "title": {"text": "seconds since the push" if marks.push is not None else "seconds", "standoff": 8},
            "zeroline": False,
            "nticks": 14,
        },
    }
    for axis, domain in DOMAINS.items():
        name = axis.replace("y", "yaxis")
        layout[name] = {"domain": list(domain), "anchor": "x", "zeroline": False, "fixedrange": True}
    layout["yaxis"] |= {"nticks": 5, "rangemode": "tozero"}
    for name in ("yaxis2", "yaxis3"):
        layout[name] |= {"autorange": "reversed", "showgrid": False, "tickfont": {"size": 10}}
    layout["yaxis4"] |= {"type": "log", "dtick": 1, "exponentformat": "none"}
    return layout


def moments_to_mark(marks: Marks) -> list[tuple[float, str, str]]:
    """(run second, words, colour) of what happened, in order."""
    known = (
        (marks.push, "push", ORANGE),
        (marks.page, "page", YELLOW),
        (marks.decision, "decision", PURPLE),
        (marks.rollback, "rollback", PURPLE),
        (marks.effective_last, "last node effective", BLUE),
        (marks.reverted, "reverted", BLUE),
        (marks.recovered, "recovered", BLUE),
    )
    return sorted((at, words, colour) for at, words, colour in known if at is not None)


def _mark_shapes(
    marks: Marks, zero: float, span: tuple[int, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Lines through all panels, labels in rows above them, none upon another, and how many rows these take."""
    moments = [(at - zero, words, colour) for at, words, colour in moments_to_mark(marks)]
    px_per_s = PLOT_WIDTH_PX / max(1, span[1] - span[0])
    texts = [f"{words} {_t_plus(at)}" for at, words, _ in moments]
    levels = stagger(
        [
            ((at - span[0]) * px_per_s, 6.6 * len(text) + 14)
            for (at, _, _), text in zip(moments, texts, strict=True)
        ]
    )
    shapes, labels = [], []
    for (at, _, colour), text, level in zip(moments, texts, levels, strict=True):
        top = 1 + (level * LEVEL_PX + 12) / PLOT_PX
        line = {"color": colour, "width": 1.25}
        shapes.append(
            {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": top, "line": line}
        )
        label = _text(at, top, f"<b>{text}</b>", yshift=4)
        labels.append(label | {"xref": "x", "xshift": 3, "yanchor": "top", "font": {"size": 11, "color": colour}})
    return shapes, labels, max(levels, default=0) + 1


def stagger(boxes: Sequence[tuple[float, float]]) -> list[int]:
    """For boxes (left, width) in px in the order of `left`, the lowest row each may take without a collision.

    A row above is also taken by the lines of later marks that rise through it: so earlier labels go above.
    """
    levels: list[int] = [0] * len(boxes)
    for i in reversed(range(len(boxes))):
        left, width = boxes[i]
        met = [levels[j] for j in range(i + 1, len(boxes)) if boxes[j][0] < left + width]
        levels[i] = max(met, default=-1) + 1
    return levels


def _t_plus(at: float) -> str:
    return f"T+{at:.0f}" if at == 0 else f"T+{at:.2f} s" if at < 100 else f"T+{at:.0f} s"


def _text(x: float, y: float, text: str, yshift: int = 0) -> dict[str, Any]:
    return {
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "middle",
        "align": "left",
        "yshift": yshift,
        "font": {"size": 12},
    }
