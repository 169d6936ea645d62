import time

import gevent
import pytest

from contract.topology import NodeEndpoint
from loadtest.readiness import ask_all, is_ready, keep_asking
from loadtest.resolver import Resolver


def node(name: str, admin: str) -> NodeEndpoint:
    return NodeEndpoint(name, "http://127.0.0.1:9", admin)


@pytest.mark.parametrize(
    ("status", "ready"), [("200 OK", True), ("503 Draining", False), ("404 Not Found", False)]
)
def test_only_200_is_ready(server, status: str, ready: bool) -> None:
    server.answer = lambda path, body: status
    assert is_ready(node("ams-1", server.url), 1.0) is ready
    assert server.asked == [("/ready", b"")]


def test_a_closed_port_is_not_ready(server) -> None:
    url = server.url
    server.stop()
    assert is_ready(node("ams-1", url), 1.0) is False


def test_a_node_that_hangs_is_not_ready_and_delays_nobody_beyond_the_time_out(server) -> None:
    def hang(path: str, body: bytes) -> str:
        gevent.sleep(30)
        return "200 OK"

    server.answer = hang
    nodes = (node("ams-1", server.url), node("ams-2", server.url), node("iad-1", server.url))
    resolver = Resolver(nodes)
    began = time.monotonic()
    ask_all(resolver, nodes, 0.3)
    assert time.monotonic() - began < 0.85
    assert len(server.asked) == 3
    assert resolver.answer("europe") == nodes[:2]


def test_rounds_go_on_and_reach_the_resolver(server, other_server) -> None:
    nodes = (node("ams-1", server.url), node("ams-2", other_server.url))
    resolver = Resolver(nodes)
    other_server.answer = lambda path, body: "503 Draining"
    asking = gevent.spawn(keep_asking, resolver, nodes, 0.01, 1.0)
    try:
        with gevent.Timeout(5):
            while resolver.answer("europe") != nodes[:1]:
                gevent.sleep(0.002)
            other_server.answer = lambda path, body: "200 OK"
            while resolver.answer("europe") != nodes:
                gevent.sleep(0.002)
    finally:
        asking.kill()
