"""Asks every node's admin port whether it is ready, every `resolve_ttl_s`; tells the resolver. I/O only."""

import gevent
from geventhttpclient import HTTPClient

from contract.topology import NodeEndpoint
from loadtest.resolver import Resolver


def is_ready(node: NodeEndpoint, timeout_s: float) -> bool:
    """True if `GET /ready` on the admin port answered 200 in time; every fault is a no."""
    try:
        with gevent.Timeout(timeout_s):
            client = HTTPClient.from_url(node.admin, connection_timeout=timeout_s, network_timeout=timeout_s)
            try:
                response = client.get("/ready")
                response.read()
                return response.status_code == 200
            finally:
                client.close()
    except (Exception, gevent.Timeout):
        return False


def ask_all(resolver: Resolver, nodes: tuple[NodeEndpoint, ...], timeout_s: float) -> None:
    """One round: all nodes at once, so that one that hangs delays nobody beyond the time-out."""
    asked = {node.name: gevent.spawn(is_ready, node, timeout_s) for node in nodes}
    gevent.joinall(asked.values())
    resolver.update({name: bool(greenlet.value) for name, greenlet in asked.items()})


def keep_asking(resolver: Resolver, nodes: tuple[NodeEndpoint, ...], ttl_s: float, timeout_s: float) -> None:
    """Rounds for ever, one each `ttl_s`; runs in a greenlet of its own until killed."""
    while True:
        gevent.sleep(ttl_s)
        ask_all(resolver, nodes, timeout_s)
