"""Which run is on: a drill's, or between drills the stack's own.

In: begin and end, from the API. Out: the view of what is on, and a task that watches it. A drill takes the
stack's place; when it is over its end stays on screen a while, and the stack's record goes on.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from console.collect import watch
from console.cpu import Reader
from console.feed import Feed
from console.run import Run
from console.state import RunState
from contract.messages import SILENT_AFTER_S
from contract.record import RunBegin, RunEnd, RunHead, View
from contract.vocabulary import EventKind

_log = logging.getLogger("console")

#: Judged, written and shown this often.
TICK_S = 0.25

#: Runs without an end of their own: the console's own, and that of `badgateway up`. A drill takes their place.
STANDING = frozenset({"stack", "up"})

#: How long the end of a drill stays on screen where there is a stack to go back to.
END_SHOWN_S = 60.0


class RunIsOn(Exception):
    """A drill is already being recorded."""


class NoRun(Exception):
    """Nothing is being recorded."""


class _Watched:
    """A run and the task that watches it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.task: asyncio.Task[None] | None = None
        self.resumed_t: float | None = None  # of the run

    @property
    def just_resumed(self) -> bool:
        """Nothing has been asked since the break; that is not silence."""
        return self.resumed_t is not None and self.run.now_t() - self.resumed_t <= SILENT_AFTER_S


class Live:
    """The runs of one console process. `group` owns the watching tasks."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        feed: Feed,
        clock: Callable[[], float],
        probe_host: str,
        read_cpu: Reader,
    ) -> None:
        self._group = group
        self._feed = feed
        self._clock = clock
        self._probe_host = probe_host
        self._read_cpu = read_cpu
        self._stack: _Watched | None = None
        self._drill: _Watched | None = None
        self._over: tuple[Run, float] | None = None  # the last drill, and when it ended

    # ---- Begin and end ----

    def begin_stack(self, run: Run) -> None:
        """What is on whenever no drill is."""
        self._stack = _Watched(run)
        self._take_up(self._stack)

    async def begin(self, begin: RunBegin) -> Run:
        """A drill, or the standing run. Raises RunIsOn, or OSError where its folder cannot be written."""
        standing = begin.head.drill in STANDING
        on = self._drill or (self._stack if standing else None)
        if on is not None:
            raise RunIsOn(f"a run is on, in {on.run.folder}; end it first (POST /api/v1/run/end)")
        if standing:
            run = Run(begin, self._clock)
            self.begin_stack(run)
            return run
        self._drill = _Watched(Run(begin, self._clock))
        self._over = None
        if self._stack is not None:
            await self._lay_down(self._stack)
        self._take_up(self._drill)
        return self._drill.run

    async def end(self, end: RunEnd) -> View:
        """Its last view; its files are complete when this returns. Raises NoRun."""
        watched, self._drill = self._drill, None
        if watched is None:
            raise NoRun("no drill's run is on; a standing stack is recorded until the console ends")
        await self._lay_down(watched)
        watched.run.end(end)
        await watched.run.close()
        self._over = (watched.run, self._clock())
        if self._stack is not None:
            self._stack.resumed_t = self._stack.run.now_t()
            self._take_up(self._stack)
        self._feed.publish(self.view())
        return watched.run.view()

    async def close(self) -> None:
        """The process ends: what is on says that it was cut short, and is written."""
        for watched in (self._drill, self._stack):
            if watched is not None:
                await self._lay_down(watched)
                watched.run.say(EventKind.NOTE, "The console stops here, before the run's end", {})
                await watched.run.close()
        self._drill = self._stack = None

    # ---- What is on ----

    @property
    def on(self) -> Run | None:
        """What is being recorded."""
        watched = self._drill or self._stack
        return watched.run if watched else None

    def recording(self) -> Run:
        """Raises NoRun."""
        if self.on is None:
            raise NoRun("no run is on; begin one with POST /api/v1/run")
        return self.on

    def view(self) -> View:
        if self._drill is None and self._over is not None:
            over, since = self._over
            if self._stack is None or self._clock() - since < END_SHOWN_S:
                return over.view()
        return self.on.view() if self.on else IDLE

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.tick()
            except Exception:
                # A full disk must not end the view of the outage.
                _log.exception("a turn of the console failed")
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        watched = self._drill or self._stack
        if watched is not None and not watched.just_resumed:
            watched.run.judge()
        self._feed.publish(self.view())
        if watched is not None:
            await watched.run.flush()

    def _take_up(self, watched: _Watched) -> None:
        watched.task = self._group.create_task(watch(watched.run, self._probe_host, self._read_cpu))

    async def _lay_down(self, watched: _Watched) -> None:
        task, watched.task = watched.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


IDLE = msgspec.structs.replace(
    RunState(RunHead("", "badgateway", "", 0, "", 0.0)).view(0.0), sentence="Waiting for a run to begin"
)
