"""One run being watched: its clock, its fold and its record, kept in step.

Whatever becomes known comes in through `add`; it is folded and appended, so that the screen never shows what
the record does not hold. `judge` adds what the console itself concludes.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from console.judge import JUDGES
from console.record import RecordWriter
from console.state import SOURCE, RunState
from contract.record import Event, Line, RunBegin, RunEnd, Told, TrafficReport, View
from contract.vocabulary import EventKind

#: Ages are measured by others, so what seems to lie this little before the run still belongs to it.
BEFORE_THE_RUN_S = 0.5


class Run:
    """A run from its begin to its end. `clock`: monotonic seconds."""

    def __init__(self, begin: RunBegin, clock: Callable[[], float]) -> None:
        """Creates the folder and its files; raises OSError where that fails."""
        self.begin = begin
        self.folder = Path(begin.dir)
        self.state = RunState(begin.head)
        self._clock = clock
        self._began = clock()
        self._writer = RecordWriter(self.folder, begin.head)
        self._writing = asyncio.Lock()
        #: The highest entry of the deployer's journal that has been read.
        self.journal_seq = 0
        self.say(
            EventKind.RUN_BEGIN,
            f"{begin.head.title or begin.head.drill} begins",
            {"drill": begin.head.drill, "nodes": [node.name for node in begin.endpoints.nodes]},
        )

    def now_t(self) -> float:
        return self._clock() - self._began

    def add(self, line: Line) -> None:
        """Fold and append. After the end nothing is added."""
        if self.state.ended is None:
            self.state.apply(line)
            self._writer.append(line)

    def say(self, kind: EventKind, text: str, data: dict[str, object]) -> None:
        """An event of the console's own, now."""
        self.add(Event(round(self.now_t(), 3), kind, SOURCE, text, data))

    def tell(self, told: Told) -> None:
        """An event that another process tells of."""
        self.add(Event(round(self.now_t() - told.age_s, 3), told.kind, told.source, told.text, told.data))

    def traffic(self, report: TrafficReport) -> None:
        """A finished bucket, put on the run's clock."""
        t = round(self.now_t() - report.age_s, 3)
        if t >= -BEFORE_THE_RUN_S:
            self.add(msgspec.structs.replace(report.sample, t=max(t, 0.0)))

    def judge(self) -> None:
        for judge in JUDGES:
            for event in judge(self.state, round(self.now_t(), 3)):
                self.add(event)

    def view(self) -> View:
        return self.state.view(self.now_t())

    async def flush(self) -> None:
        """Bring to disk what has been added so far."""
        async with self._writing:
            await asyncio.to_thread(self._writer.write, self._writer.take())

    def end(self, end: RunEnd) -> None:
        """The last event. `close` is still due."""
        self.judge()
        text = end.sentence or f"The run is over: {end.verdict}."
        self.say(
            EventKind.RUN_END, text, {"verdict": end.verdict, "sentence": end.sentence, "report": end.report}
        )

    async def close(self) -> None:
        async with self._writing:
            await asyncio.to_thread(self._writer.close)
