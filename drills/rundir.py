"""A run's folder, `runs/<drill>/<stamp>/`: where it is made, found again, and read back as one typed record.

The console writes `run.json`, `events.jsonl` and `samples.jsonl`; Locust, the fronts and the origins write the
logs under `logs/`. `RunDir.load` reads all of it, skips (and counts) lines that are no whole record, cuts logs
that cover more than the run to its window, and puts every wall-clock time on the run's own clock. It judges
nothing: that is `score.py` and `reconciliation.py`.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from contract.record import AccessLogLine, Event, OriginLogLine, RunHead, Sample, TrafficLogLine
from contract.vocabulary import EventKind

LATEST = "latest"
HEAD = "run.json"
EVENTS = "events.jsonl"
SAMPLES = "samples.jsonl"
LOGS = "logs"
TRAFFIC = "traffic.jsonl"
ORIGINS = "origins.jsonl"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"

#: A front or an origin may log a request this long before or after the run's window that its user fell into.
LOG_MARGIN_S = 30.0

#: What a drill or a stamp may be called: one path segment that no shell or URL has to quote.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

T = TypeVar("T")

_decode_sample: Callable[[bytes], Sample] = msgspec.json.Decoder(Sample).decode


class RunNotFound(LookupError):
    """No such run. `nearest`: what could have been meant."""

    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message}; nearest: {', '.join(nearest)}" if nearest else message)
        self.nearest = nearest


class Record(msgspec.Struct, frozen=True):
    """One run as read back. Log lines keep wall-clock times; `clock` turns them into seconds since the run began.

    `missing`: files that should be there and are not. `unreadable`: file → lines that were no whole record.
    `cut_ids`: client ids of the traffic log that lie outside the run's window (an attached run's neighbours).
    """

    head: RunHead
    end: float
    events: tuple[Event, ...]
    samples: tuple[Sample, ...]
    traffic: tuple[TrafficLogLine, ...]
    access: tuple[AccessLogLine, ...]
    origins: tuple[OriginLogLine, ...]
    missing: tuple[str, ...] = ()
    unreadable: dict[str, int] = {}
    cut_ids: frozenset[str] = frozenset()

    def clock(self, wall_s: float) -> float:
        """Seconds since the run began, of a wall-clock time."""
        return wall_s - self.head.started_at


class RunDir:
    """Typed access to one run's folder. Missing files read as empty and are named by `load`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        return self.path / LOGS

    def head(self) -> RunHead:
        """Raises RunNotFound when `run.json` is missing, or is none."""
        try:
            return msgspec.json.decode((self.path / HEAD).read_bytes(), type=RunHead)
        except FileNotFoundError:
            raise RunNotFound(f"{self.path} is no run folder: it has no {HEAD}") from None
        except (msgspec.DecodeError, OSError) as fault:
            raise RunNotFound(f"{self.path / HEAD} cannot be read: {fault}") from None

    def load(self, end: float | None = None) -> Record:
        """The whole record. `end`: where the run ends, in its seconds; None: its last event, or last sample."""
        reading = _Reading(self.path)
        head = self.head()
        events = reading.lines(EVENTS, msgspec.json.Decoder(Event).decode)
        samples = reading.lines(SAMPLES, _decode_sample)
        traffic = reading.lines(f"{LOGS}/{TRAFFIC}", msgspec.json.Decoder(TrafficLogLine).decode)
        origins = reading.lines(f"{LOGS}/{ORIGINS}", msgspec.json.Decoder(OriginLogLine).decode)
        access = [
            line
            for name in self.access_logs()
            for line in reading.lines(name, msgspec.json.Decoder(AccessLogLine).decode)
        ]
        end = _end_of_run(events, samples) if end is None else end
        opens, closes = head.started_at, head.started_at + end
        kept = tuple(line for line in traffic if opens <= line.due <= closes)
        kept_ids = frozenset(line.id for line in kept)
        cut_ids = frozenset(line.id for line in traffic) - kept_ids
        silent = {line.node for line in kept if line.sent is not None} - {line.node for line in access}
        if kept and silent:
            known = {Path(name).name for name in self.access_logs()}
            logs = (f"access-{node}.jsonl" for node in sorted(silent))
            reading.missing += [f"{LOGS}/{log}" for log in logs if log not in known]

        def ours(at: float, client_id: str) -> bool:
            if client_id in kept_ids:
                return opens - LOG_MARGIN_S <= at <= closes + LOG_MARGIN_S
            # A stack that goes on logs requests whose users have not logged them yet: not this run's.
            return opens <= at <= closes and client_id not in cut_ids

        return Record(
            head=head,
            end=end,
            events=tuple(sorted(events, key=lambda event: event.t)),
            samples=tuple(sorted(samples, key=lambda sample: sample.t)),
            traffic=kept,
            access=tuple(line for line in access if ours(line.at, line.client_id)),
            origins=tuple(line for line in origins if ours(line.at, line.client_id)),
            missing=tuple(reading.missing),
            unreadable=reading.unreadable,
            cut_ids=cut_ids,
        )

    def access_logs(self) -> tuple[str, ...]:
        """The fronts' logs, relative to the run's folder."""
        return tuple(f"{LOGS}/{path.name}" for path in sorted(self.logs.glob("access-*.jsonl")))

    def files(self) -> tuple[str, ...]:
        """Every raw file of the run, relative to its folder: what the report links to."""
        found = sorted((*self.path.glob("*"), *self.logs.glob("*")))
        names = (str(path.relative_to(self.path)) for path in found if path.is_file())
        return tuple(name for name in names if name != REPORT_HTML)


class _Reading:
    """Reads JSON lines and remembers what was missing or unreadable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.missing: list[str] = []
        self.unreadable: dict[str, int] = {}

    def lines(self, name: str, decode: Callable[[bytes], T]) -> list[T]:
        try:
            raw = (self.root / name).read_bytes()
        except FileNotFoundError:
            self.missing.append(name)
            return []
        good: list[T] = []
        bad = 0
        for line in raw.splitlines():
            if not line.strip():
                continue
            try:
                good.append(decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                bad += 1
        if bad:
            self.unreadable[name] = bad
        return good


def _end_of_run(events: Iterable[Event], samples: Iterable[Sample]) -> float:
    ends = [event.t for event in events if event.kind is EventKind.RUN_END]
    if ends:
        return max(ends)
    return max((line.t for line in (*events, *samples)), default=0.0)


# ---- Making and finding runs ----


def create_run_dir(root: Path, drill: str, stamp: str) -> RunDir:
    """Make `root/drill/stamp/` with its `logs/`; a stamp already taken gets `-2`, `-3`, … after it.

    Raises ValueError for a drill or stamp that is not one plain path segment.
    """
    for name in (drill, stamp):
        if not NAME.fullmatch(name) or name == LATEST:
            raise ValueError(f"{name!r} cannot name a run's folder: only letters, digits, dot, dash, underscore")
    (root / drill).mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        path = root / drill / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            (path / LOGS).mkdir()
            return RunDir(path)
    raise ValueError(f"{root / drill / stamp} and 999 more of its name are taken")


def link_latest(run_dir: RunDir) -> Path:
    """Point `runs/<drill>/latest` at this run: relative, so that the tree can be moved; swapped in one step."""
    link = run_dir.path.parent / LATEST
    fresh = link.with_name(f".{LATEST}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run_dir.path.name, target_is_directory=True)
    fresh.replace(link)
    return link


def find_run(text: str, root: Path) -> RunDir:
    """The run meant by `latest`, `drill` (its latest), `drill/stamp`, or a path to a run's folder.

    A name never leads out of `root`, not by `..` and not by a link; a folder elsewhere has to be written as a
    path (`/…`, `./…`, `../…`). Raises RunNotFound with the nearest names.
    """
    if text == LATEST:
        return _newest(root)
    if text.startswith(("/", "./", "../", "~")):
        path = Path(text).expanduser()
        if (path / HEAD).is_file():
            return RunDir(path.resolve())
        raise RunNotFound(f"{text} is no run folder: it has no {HEAD}", _nearest(text, root))
    for candidate in (root / text, Path(text)):
        inside = candidate.resolve()
        if not inside.is_relative_to(root.resolve()):
            continue
        if (inside / HEAD).is_file():
            return RunDir(inside)
        latest = (inside / LATEST).resolve()
        if latest.is_relative_to(root.resolve()) and (latest / HEAD).is_file():
            return RunDir(latest)
    raise RunNotFound(f"no run {text!r} under {root}", _nearest(text, root))


def list_runs(root: Path) -> tuple[RunDir, ...]:
    """Every run under `root`, oldest first."""
    heads = (path for path in root.glob(f"*/*/{HEAD}") if path.parent.name != LATEST)
    return tuple(RunDir(path.parent) for path in sorted(heads, key=lambda path: (path.parent.name, path)))


def _newest(root: Path) -> RunDir:
    runs = list_runs(root)
    if not runs:
        raise RunNotFound(f"no run under {root} yet")
    return RunDir(max(runs, key=_started_at).path.resolve())


def _started_at(run: RunDir) -> float:
    try:
        return run.head().started_at
    except RunNotFound:
        return float("-inf")


def _nearest(text: str, root: Path) -> tuple[str, ...]:
    names = {run.path.parent.name for run in list_runs(root)}
    names |= {f"{run.path.parent.name}/{run.path.name}" for run in list_runs(root)}
    return tuple(difflib.get_close_matches(text.removeprefix(f"{root.name}/"), sorted(names), n=3, cutoff=0.4))
