"""One JSON line a request: encoded at once, written out by the node's clock in a thread, for a disk may block.

Without a log folder it keeps nothing.
"""

import asyncio
import sys
import time
from io import FileIO
from pathlib import Path

import msgspec

from contract.record import AccessLogLine
from proxy.exchange import Exchange


class AccessLog:
    """`pending`: encoded lines that are not in the file yet."""

    def __init__(self, node: str, log_dir: str | None) -> None:
        self._node = node
        self._path = Path(log_dir) / f"access-{node}.jsonl" if log_dir is not None else None
        self._file: FileIO | None = None
        self._encode = msgspec.json.Encoder().encode
        self._complained = False
        self._writing: asyncio.Future[OSError | None] | None = None
        self.pending: list[bytes] = []

    async def open(self) -> None:
        """Raises OSError."""
        if self._path is not None:
            self._file = await asyncio.to_thread(_open, self._path)

    def write(self, exchange: Exchange, age_s: float) -> None:
        if self._file is None:
            return
        assert exchange.outcome is not None
        assert exchange.reason is not None
        line = AccessLogLine(
            round(time.time(), 6),
            self._node,
            exchange.request_id,
            exchange.client_id.decode("latin-1"),
            exchange.host.decode("latin-1"),
            exchange.method.decode("latin-1"),
            exchange.uri.decode("latin-1"),
            exchange.status,
            exchange.outcome,
            exchange.reason,
            exchange.pool or "",
            round(exchange.inspection_s * 1000, 3),
            round(age_s * 1000, 3),
            exchange.bytes_in,
            exchange.bytes_out,
        )
        self.pending.append(self._encode(line))

    async def flush(self) -> None:
        """Lines that the disk does not take are lost, and that is said once. A write that was begun goes on when
        whoever waits for it is cancelled."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        lines, self.pending = self.pending, []
        if self._file is None or not lines:
            return
        data = b"\n".join(lines) + b"\n"
        self._writing = asyncio.get_running_loop().run_in_executor(None, _write, self._file, data)
        fault = await asyncio.shield(self._writing)
        if fault is not None and not self._complained:
            print(f"{self._node}: access log: {fault.strerror}", file=sys.stderr, flush=True)
            self._complained = True

    async def close(self) -> None:
        await self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileIO(path, "ab")


def _write(file: FileIO, data: bytes) -> OSError | None:
    """Returns what the disk had against it."""
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as fault:
        return fault
    return None
