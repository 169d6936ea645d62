"""The score of a run: one pure function over its record, serialised as `report.json`.

Composes what `phases`, `damage`, `wall` and `reconciliation` measure, then says first whether the run can be
trusted at all, and then (`conclude`) whether it met the drill's objectives. `docs/report.md` documents every
key, and a test holds it to that.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from contract.vocabulary import RunVerdict
from drills.damage import (
    BadRatio,
    BlastRadius,
    RequestCounts,
    Span,
    after_span,
    before_span,
    blast_radius,
    count,
    ratios,
)
from drills.objective import Objective, ObjectiveResult, number, weigh
from drills.phases import Marks, Moments, Timing, act_by_node, marks_of, moments_of, time_unprotected, timing_of
from drills.reconciliation import Reconciliation, reconcile
from drills.rundir import Record
from drills.traffic import requests_of
from drills.wall import Generator, Wall, measure_generator, measure_wall, pss_mib_peak, wall_span


class ScoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The thresholds of the definitions. The defaults are the definitions; few drills have reason to differ."""

    objective_bad_ratio: float = 0.001  # recovered: under this …
    soak_s: float = 5.0  # … for this long
    phase_min_s: float = 10.0  # a ratio of less than this says little of `before` and `after`
    peak_min_requests: int = 200  # a window of fewer is noise
    unsent_max: float = 0.01
    unexplained_max: float = 0.001
    generator_cpu_max: float = 0.9


class Score(msgspec.Struct, frozen=True):
    """`report.json`. Durations in seconds, ratios 0-1; null: did not happen, or was not measured."""

    drill: str
    title: str
    seed: int
    procedure: str
    verdict: RunVerdict
    reasons: tuple[str, ...]
    started_at: float
    duration_s: float
    ready_s: float | None
    decided_by: str | None
    moments_s: Marks
    timing_s: Timing
    act_s_by_node: dict[str, float | None]
    requests: RequestCounts
    bad_ratio: BadRatio
    blast_radius: BlastRadius
    time_unprotected_s: float
    wall: Wall | None
    generator: Generator
    reconciliation: Reconciliation
    pss_mib_peak: float | None
    unreadable_lines: dict[str, int]
    objectives: tuple[ObjectiveResult, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]


def score(record: Record, settings: ScoreSettings | None = None) -> Score:
    """Measure the run. The verdict is `invalid` with its reasons, or `met` for want of objectives yet."""
    limits = settings or ScoreSettings()
    requests = requests_of(record)
    moments = moments_of(record, requests, limits.objective_bad_ratio, limits.soak_s)
    wall = wall_span(requests, moments)
    measured = Score(
        drill=record.head.drill,
        title=record.head.title,
        seed=record.head.seed,
        procedure=record.head.procedure,
        verdict=RunVerdict.MET,
        reasons=(),
        started_at=record.head.started_at,
        duration_s=round(record.end, 3),
        ready_s=_ready_s(record),
        decided_by=moments.decided_by,
        moments_s=marks_of(moments),
        timing_s=timing_of(record, moments, requests),
        act_s_by_node=act_by_node(moments),
        requests=count(requests),
        bad_ratio=ratios(requests, moments, limits.peak_min_requests),
        blast_radius=blast_radius(requests, moments),
        time_unprotected_s=time_unprotected(record.events, record.end),
        wall=measure_wall(record.samples, requests, wall, moments.push),
        generator=measure_generator(record.samples, requests, wall),
        reconciliation=reconcile(record),
        pss_mib_peak=pss_mib_peak(record.samples),
        unreadable_lines=record.unreadable,
        objectives=(),
        settings=record.head.settings,
        environment=record.head.environment,
    )
    spans = {"before": before_span(moments, requests), "after": after_span(moments, requests)}
    faults = tuple(_faults(record, measured, moments, spans, limits))
    return msgspec.structs.replace(measured, verdict=RunVerdict.INVALID, reasons=faults) if faults else measured


def _faults(
    record: Record, measured: Score, moments: Moments, spans: dict[str, Span | None], limits: ScoreSettings
) -> Iterator[str]:
    """Why this run cannot be trusted, a sentence each; nothing when it can."""
    for name in record.missing:
        yield f"{name} is missing"
    if moments.push is None:
        yield "nothing was pushed"
    intended, unsent = measured.requests.intended, measured.requests.unsent
    if intended == 0:
        yield "no request was scheduled within the run"
    elif unsent > limits.unsent_max * intended:
        yield (
            f"{_percent(unsent / intended)} of the requests were never sent ({unsent:,} of {intended:,}); "
            f"at most {_percent(limits.unsent_max)} may be"
        )
    ratio = measured.reconciliation.ratio
    if ratio is not None and ratio > limits.unexplained_max:
        yield (
            f"{_percent(ratio)} of the sent requests are unexplained by the logs; "
            f"at most {_percent(limits.unexplained_max)} may be"
        )
    for name, span in spans.items():
        if span is not None and span.length < limits.phase_min_s:
            yield f"the {name} phase lasted {span.length:.1f} s; it needs {number(limits.phase_min_s)} s"
    share = measured.generator.cpu_share
    if share is not None and share > limits.generator_cpu_max:
        yield (
            f"the load generator used {_percent(share)} of a core; above {_percent(limits.generator_cpu_max)} "
            "it slows what it measures"
        )


def judge(measured: Score, objectives: Iterable[Objective], changed: bool) -> tuple[RunVerdict, tuple[str, ...]]:
    """The verdict and its reasons. `changed`: altered by `--set`, so `as_shipped` ones are skipped."""
    concluded = conclude(measured, objectives, changed)
    return concluded.verdict, concluded.reasons


def conclude(measured: Score, objectives: Iterable[Objective], changed: bool) -> Score:
    """The score with its objectives weighed. An invalid run stays invalid: its numbers prove nothing."""
    results = weigh(measured, objectives, changed)
    if measured.verdict is RunVerdict.INVALID:
        return msgspec.structs.replace(measured, objectives=results)
    missed = tuple(result.sentence for result in results if result.met is False)
    judged = sum(result.met is not None for result in results)
    praise = "no objective was set" if judged == 0 else "the one objective is met"
    reasons = missed or (f"all {judged} objectives are met" if judged > 1 else praise,)
    verdict = RunVerdict.NOT_MET if missed else RunVerdict.MET
    return msgspec.structs.replace(measured, verdict=verdict, reasons=reasons, objectives=results)


#: Keys whose own keys are not ours to list: nodes, files, settings, what a machine says of itself.
OPEN_KEYS = frozenset({"act_s_by_node", "unreadable_lines", "settings", "environment"})


def score_paths() -> tuple[str, ...]:
    """Every dotted key of `report.json`, the open ones without what is in them."""
    return tuple(_paths(Score, ""))


def is_score_path(path: str) -> bool:
    """Whether an objective may speak of `path`."""
    return path in score_paths() or path.partition(".")[0] in OPEN_KEYS


def _paths(struct: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        path = prefix + field.encode_name
        yield path
        for kind in getattr(field.type, "__args__", (field.type,)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from _paths(kind, path + ".")


def _ready_s(record: Record) -> float | None:
    """Start of the first process to the last one ready, as the conductor told it (`data.ready_s`)."""
    told = (event.data["ready_s"] for event in record.events if "ready_s" in event.data)
    found = next(told, None)
    return round(float(found), 3) if isinstance(found, int | float) else None


def _percent(ratio: float) -> str:
    return f"{number(ratio * 100)} %"
