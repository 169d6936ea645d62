"""Where finished traffic goes: `traffic.jsonl`, and the console's `/ingest/traffic`. I/O only.

A console that is away costs nothing: each bucket is tried once, within a short time-out, from a greenlet of its
own, and what piles up beyond ten seconds is dropped, oldest first.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import gevent
import msgspec
from gevent.event import Event
from geventhttpclient import HTTPClient

from contract.record import TrafficLogLine, TrafficReport, TrafficSample, encode_line

#: Of one post to the console: longer than any healthy answer, shorter than two buckets.
POST_TIMEOUT_S = 0.4

KEPT_REPORTS = 40


class TrafficLog:
    """`traffic.jsonl`: lines wait in memory until `flush`. With None instead of a folder it drops them."""

    def __init__(self, folder: Path | None) -> None:
        self._file = (folder / "traffic.jsonl").open("wb", buffering=0) if folder else None
        self._lines: list[bytes] = []

    def add(self, line: TrafficLogLine) -> None:
        if self._file:
            self._lines.append(encode_line(line))

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._file and lines:
            self._file.write(b"\n".join(lines) + b"\n")

    def close(self) -> None:
        self.flush()
        if self._file:
            self._file.close()
            self._file = None


class ConsoleFeed:
    """Buckets on their way to the console at `base_url`; with None it drops them."""

    def __init__(self, base_url: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[tuple[float, TrafficSample]] = deque(maxlen=KEPT_REPORTS)
        self._news = Event()
        self._path = f"{urlsplit(base_url).path}/ingest/traffic" if base_url else ""
        self._client = (
            HTTPClient.from_url(base_url, connection_timeout=POST_TIMEOUT_S, network_timeout=POST_TIMEOUT_S)
            if base_url
            else None
        )

    def put(self, sample: TrafficSample) -> None:
        """A bucket that ended just now."""
        if self._client:
            self._waiting.append((self._clock(), sample))
            self._news.set()

    def run(self) -> None:
        """Posts what comes; runs in a greenlet of its own until killed."""
        while True:
            self._news.wait()
            self._news.clear()
            while self._waiting:
                self._post_oldest()

    def drain(self) -> None:
        """Posts what is left, within twice the time-out."""
        with gevent.Timeout(2 * POST_TIMEOUT_S, False):
            while self._waiting:
                self._post_oldest()

    def close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None

    def _post_oldest(self) -> None:
        ended_at, sample = self._waiting.popleft()
        if self._client is None:
            return
        body = msgspec.json.encode(TrafficReport(age_s=max(0.0, self._clock() - ended_at), sample=sample))
        try:
            with gevent.Timeout(POST_TIMEOUT_S):
                response = self._client.request("POST", self._path, body, {"Content-Type": "application/json"})
                response.read()
        except (Exception, gevent.Timeout):
            # The console is away or slow: this bucket is lost to it, and stays in the log.
            return
