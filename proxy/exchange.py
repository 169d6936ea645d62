"""One request and its answer: the record that travels the whole path, from first byte to log line."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contract.vocabulary import Outcome, Pool, Reason

if TYPE_CHECKING:
    from proxy.front import ClientConnection
    from proxy.upstream import OriginConnection

#: Headers of one hop, never passed on (RFC 9110 section 7.6.1), and those that this edge asserts itself.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
ASSERTED = frozenset(
    {
        b"x-request-id",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"forwarded",
        b"expect",
    }
)

#: (name as it came, name in lower case, value)
Header = tuple[bytes, bytes, bytes]


@dataclass(slots=True, eq=False)
class Exchange:
    """Times are CLOCK_MONOTONIC seconds. `body` holds what has come in and has not been passed on."""

    id: int
    client: "ClientConnection"
    started: float
    method: bytes = b""
    uri: bytes = b""
    version: str = "1.1"
    headers: list[Header] = field(default_factory=list)
    host: bytes = b""
    client_id: bytes = b""
    request_id: str = ""
    content_length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    expects_continue: bool = False

    head_complete: bool = False
    body: bytearray = field(default_factory=bytearray)
    body_complete: bool = False
    bytes_in: int = 0
    bytes_out: int = 0

    #: What the pipeline waits for, and since when.
    inspecting: bool = False
    inspected: bool = False
    inspection_s: float = 0.0
    pool: Pool | None = None
    upstream: "OriginConnection | None" = None
    upstream_since: float = 0.0
    tries: int = 0

    response_head_sent: bool = False
    response_chunked: bool = False
    status: int = 0
    #: Why it is not served, or nothing behind it: it is answered so when its turn comes, then all is closed.
    refused: Reason | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None

    #: How many taus this exchange's age has passed, and whether it has reached its verdict for the counters.
    slow_counted: int = 0
    due_counted: bool = False


def connection_tokens(headers: list[Header]) -> frozenset[bytes]:
    """The header names that Connection lists, in lower case: hop-by-hop too, by the sender's word."""
    tokens = [
        token.strip().lower()
        for _, name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    ]
    return frozenset(tokens)
