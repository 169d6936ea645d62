"""One JSON line a request, buffered, flushed by the node's clock. Without a log folder it writes nothing."""

import time
from pathlib import Path

import msgspec

from contract.record import AccessLogLine
from proxy.exchange import Exchange


class AccessLog:
    def __init__(self, node: str, log_dir: str | None) -> None:
        self._node = node
        self._file = None
        if log_dir is not None:
            Path(log_dir).mkdir(parents=True, exist_ok=True)
            self._file = open(Path(log_dir) / f"access-{node}.jsonl", "ab", buffering=256 * 1024)  # noqa: SIM115  (closed with the node)
        self._encode = msgspec.json.Encoder().encode

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
        self._file.write(self._encode(line) + b"\n")

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
