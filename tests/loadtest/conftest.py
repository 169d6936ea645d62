"""A small HTTP server on gevent, for the parts of the traffic that run on gevent and without Locust."""

from collections.abc import Callable, Iterator

import pytest
from gevent.pywsgi import WSGIServer

Answer = Callable[[str, bytes], str]


class FakeServer:
    """Answers with the status that `answer(path, body)` returns, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda path, body: "200 OK"
        self.asked: list[tuple[str, bytes]] = []
        self._server = WSGIServer(("127.0.0.1", 0), self._serve, log=None, error_log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _serve(
        self, environ: dict[str, object], start: Callable[[str, list[tuple[str, str]]], object]
    ) -> list[bytes]:
        body: bytes = environ["wsgi.input"].read()  # type: ignore[attr-defined]
        path = str(environ["PATH_INFO"])
        self.asked.append((path, body))
        start(self.answer(path, body), [("Content-Length", "0")])
        return []

    def stop(self) -> None:
        self._server.stop(timeout=0.1)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def other_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()
