"""Plays a recorded run again: the same lines through the same fold, on a clock that runs `speed` times as fast.

Nothing is decided anew: status words are those that were recorded. After the last line the end stays on screen.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from console.feed import Feed
from console.record import read_head, read_lines
from console.state import RunState
from contract.record import View

#: Views as often as live in the record's own time, within what an eye can follow.
PERIOD_S = 0.25
MIN_PERIOD_S = 0.05

MAX_SPEED = 1000.0


class ReplayControl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/v1/replay`: another speed (0: pause), another moment of the record; None: as it is."""

    speed: float | None = None
    t: float | None = None


class Replay:
    """One recorded run. `clock`: monotonic seconds."""

    def __init__(self, folder: Path, speed: float, clock: Callable[[], float], feed: Feed) -> None:
        """Raises UnreadableRecord."""
        self.folder = folder
        self.head = read_head(folder)
        self._lines = read_lines(folder)
        self.end_t = self._lines[-1].t if self._lines else 0.0
        self.speed = speed
        self._clock = clock
        self._feed = feed
        self._since = (clock(), 0.0)  # (clock, t) when speed or moment were last set
        self._rewind()

    def now_t(self) -> float:
        at, t = self._since
        return min(t + (self._clock() - at) * self.speed, self.end_t)

    def control(self, control: ReplayControl) -> None:
        """Raises ValueError for a speed or moment that there is not."""
        if control.speed is not None and not 0 <= control.speed <= MAX_SPEED:
            raise ValueError(f"speed {control.speed:g}: expected 0 (pause) to {MAX_SPEED:g}")
        if control.t is not None and not 0 <= control.t <= self.end_t:
            raise ValueError(f"t {control.t:g}: this run lasts from 0 to {self.end_t:.1f} s")
        t = self.now_t() if control.t is None else control.t
        self._since = (self._clock(), t)
        self.speed = self.speed if control.speed is None else control.speed
        if self._next and self._lines[self._next - 1].t > t:
            self._rewind()

    def view(self) -> View:
        """Folds in what has become due."""
        t = self.now_t()
        while self._next < len(self._lines) and self._lines[self._next].t <= t:
            self._state.apply(self._lines[self._next])
            self._next += 1
        view = self._state.view(t)
        # A record that was cut short has no last word, and ends all the same.
        return msgspec.structs.replace(view, replay_speed=self.speed, ended=view.ended or t >= self.end_t)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._feed.publish(self.view())
            await asyncio.sleep(min(max(PERIOD_S / max(self.speed, 1.0), MIN_PERIOD_S), PERIOD_S))

    def _rewind(self) -> None:
        self._state = RunState(self.head)
        self._next = 0
