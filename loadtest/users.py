"""Locust's users: each carries one request of the schedule at a time, whoever's it is.

A user is only hands: the visitor's cookies and headers come with the request, so nothing leaks from one visitor
to the next through the user that served both. Connections are shared and kept alive.
"""

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, cast

import gevent
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.url import URL
from locust import FastHttpUser, task
from locust.contrib.fasthttp import LocustUserAgent
from locust.env import Environment
from locust.exception import StopUser

from contract.sites import ORIGIN_HEADER
from contract.vocabulary import Outcome
from loadtest.config import DEADLINE_S
from loadtest.outcomes import Failure, outcome_of_answer, outcome_of_fault
from loadtest.schedule import ScheduledRequest
from loadtest.traffic import Sent, Traffic

#: More than there will ever be users: the pool must never be what a request waits for.
MAX_CONNECTIONS_PER_NODE = 10_000


class Response(Protocol):
    """The part of Locust's catch_response object that is used here, with types."""

    request_meta: dict[str, Any]
    status_code: int
    headers: Any

    def success(self) -> None: ...
    def failure(self, exc: Exception) -> None: ...


class NodeConnections(HTTPClientPool):
    """Keep-alive connections to the nodes, shared by all users, the last used first."""

    def get_client(self, url: str | URL) -> HTTPClient:
        known = len(self.clients)
        client = super().get_client(url)
        if len(self.clients) > known:
            # geventhttpclient sends a GET again, silently, as often as the pool has places. A request that a
            # dying node cut off has to be seen as one, so it gets no second attempt.
            client._connection_pool.size = -1
        return client


class PlainAgent(LocustUserAgent):
    """An agent that adds nothing: no cookie jar, no redirects of its own, no status that is a fault as such."""

    valid_response_codes = frozenset(range(100, 1000))
    redirect_response_codes = frozenset()


class VisitorUser(FastHttpUser):
    """Takes what is due, sends it, says what became of it; again until the run is over."""

    #: The run that is on, or the last one; set before the first user starts.
    traffic: ClassVar[Traffic | None] = None
    #: Only shown: every request goes to a node of its region.
    host = "http://edge.example"
    connection_timeout = DEADLINE_S
    network_timeout = DEADLINE_S
    client_pool = NodeConnections(
        concurrency=MAX_CONNECTIONS_PER_NODE,
        connection_timeout=DEADLINE_S,
        network_timeout=DEADLINE_S,
        block_size=32_768,
    )

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.client = PlainAgent(client_pool=self.client_pool, max_retries=0)

    @task
    def carry(self) -> None:
        traffic = self.traffic
        request = traffic.take() if traffic else None
        if traffic is None or request is None:
            raise StopUser
        sent = traffic.begin(request)
        try:
            with gevent.Timeout(DEADLINE_S), self._send(sent) as response:
                _judge(traffic, sent, response)
        except BaseException:
            # Only a stopping test cuts a user off here: faults of the network are the response's.
            traffic.end(sent, Outcome.CLIENT_GONE, 0, "")
            raise

    def _send(self, sent: Sent) -> AbstractContextManager[Response]:
        request = sent.request
        answer = self.client.request(
            request.method,
            sent.node.edge + request.path,
            name=request.kind,
            # Bytes go through as they are, whatever the annotation says.
            data=cast(str, request.body) or None,
            headers=_headers(request),
            catch_response=True,
        )
        return cast(AbstractContextManager[Response], answer)


def _judge(traffic: Traffic, sent: Sent, response: Response) -> None:
    """Names the outcome, in our counts and in Locust's."""
    fault = response.request_meta["exception"]
    if fault is not None:
        outcome = outcome_of_fault(fault)
        latency_ms = traffic.end(sent, outcome, 0, "")
    else:
        status = response.status_code
        outcome = outcome_of_answer(status, response.headers.get(ORIGIN_HEADER) is not None)
        latency_ms = traffic.end(sent, outcome, status, response.headers.get("X-Request-Id") or "")
    # Locust would count from the moment of sending; a request that waited for its user waited all the same.
    response.request_meta["response_time"] = latency_ms
    if outcome is Outcome.OK:
        response.success()
    else:
        response.failure(Failure(outcome))


def _headers(request: ScheduledRequest) -> dict[str, str]:
    return {"Host": request.site, **dict(request.headers)}
