"""The origins' access log: one line a request, buffered, written by a thread at least every 250 ms.

Lines wait in memory between writes, so a request costs one append, and the event loop never waits for a disk.
"""

import asyncio
from pathlib import Path

from contract.record import OriginLogLine, encode_line

FLUSH_PERIOD_S = 0.2


class AccessLog:
    """Appends to `path`; with None, drops everything. OSError from the constructor if it cannot be opened."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("ab", buffering=0) if path else None
        self._lines: list[bytes] = []

    def add(self, line: OriginLogLine) -> None:
        if self._file:
            self._lines.append(encode_line(line))

    def flush(self) -> None:
        """Writes what is waiting. Blocks on the file: call it from a thread, or when the loop is over."""
        lines, self._lines = self._lines, []
        if self._file and lines:
            self._file.write(b"\n".join(lines) + b"\n")

    async def run(self) -> None:
        """Flushes for ever; cancel it, then `close()`."""
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            if self._lines:
                await asyncio.to_thread(self.flush)

    def close(self) -> None:
        self.flush()
        if self._file:
            self._file.close()
            self._file = None
