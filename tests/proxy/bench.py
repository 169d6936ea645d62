"""The request path of one node on real sockets in one process: raw origin, front, raw client.

No inspector is forked: `edge.inspection.active` None means that none is wanted; set it, and jobs go to
`edge.inspection.link`, which records them and answers when the test says so.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from contract.record import AccessLogLine
from contract.vocabulary import Pool
from proxy.access_log import AccessLog
from proxy.config import parse_args
from proxy.counters import FrontCounters
from proxy.frames import Code, VerdictFrame
from proxy.front import ClientConnection
from proxy.pipeline import Pipeline
from proxy.pools import InspectionPools
from proxy.upstream import OriginPool
from tests.fakes.waiting import eventually

PATIENCE_S = 5.0


@dataclass
class Message:
    """A request or response as it stood on the wire. Header names in lower case, in order."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    raw_head: bytes = b""
    #: Still being received.
    complete: bool = False

    @property
    def method(self):
        return self.start.split()[0]

    @property
    def target(self):
        return self.start.split()[1]

    @property
    def status(self):
        return int(self.start.split()[1])

    def all(self, name):
        return [value for header, value in self.headers if header == name]

    def __getitem__(self, name):
        (value,) = self.all(name)
        return value


async def read_head(reader):
    """A whole head, or None when the peer closed before it began."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Message(start, headers, raw_head=raw)


async def read_body(reader, message, until_eof=False):
    if message.all("transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            message.body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readuntil(b"\r\n") == b"\r\n"
    elif lengths := message.all("content-length"):
        message.body = await reader.readexactly(int(lengths[0]))
    elif until_eof:
        message.body = await reader.read()
    message.complete = True


def reset(writer):
    """End a connection by RST instead of FIN."""
    if writer.is_closing():
        return
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def plain(body=b"hello", status="200 OK", *headers):
    """A response of known length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


class RawOrigin:
    """Records what it received. `answer(request, reader, writer)` says what to do once a head is there; the
    default reads the body and sends `self.response`. `reads_body` False leaves the body to `answer`."""

    def __init__(self):
        self.requests: list[Message] = []
        self.connections = 0
        self.open = 0
        self.response = plain()
        self.reads_body = True
        self.answer = self._respond
        self.writers = []
        self._server = None

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        self.writers.append(writer)
        try:
            while (request := await read_head(reader)) is not None:
                self.requests.append(request)
                if self.reads_body:
                    await read_body(reader, request)
                await self.answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _respond(self, request, reader, writer):
        writer.write(self.response)
        await writer.drain()

    def reset_all(self):
        for writer in self.writers:
            reset(writer)

    def close_all(self):
        for writer in self.writers:
            writer.close()

    async def stop(self):
        self._server.close()
        self.reset_all()
        await eventually(lambda: self.open == 0, "the origin's connections end")


class RecordingLink:
    """An inspector that answers when the test says so."""

    def __init__(self, pool=Pool.PRIMARY):
        self.pool = pool
        self.alive = True
        self.in_flight = {}
        self.sent = []
        self.jobs = []

    def send(self, job):
        self.sent.append((job.id, job.attempt_deadline))
        self.jobs.append(job)

    @property
    def ids(self):
        return [job_id for job_id, _ in self.sent]


class BenchInspection:
    """What the pipeline asks of an Inspection, with one recording inspector."""

    def __init__(self):
        self.active = None
        self.link = RecordingLink()
        self.pools = InspectionPools((Pool.PRIMARY,), 1.0, 64, 8)
        self.pools.replace([self.link])

    def name_hits(self, hits, pool):
        return Counter(f"rule-{index}" for index in hits)

    def answer(self, code=Code.PASSED, hits=()):
        """Judge the oldest request under way."""
        self.pools.answered(self.link, VerdictFrame(next(iter(self.link.in_flight)), code, hits))


class Client:
    """One raw connection to an edge."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port, receive_buffer=None, limit=2**16):
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=limit))

    def send(self, data):
        self.writer.write(data)

    async def response(self, body=True):
        """The next response, 1xx passed over. `body` False after HEAD."""
        async with asyncio.timeout(PATIENCE_S):
            message = await read_head(self.reader)
            assert message is not None, "closed without an answer"
            if message.status == 100:
                return await self.response(body)
            if body and message.status not in (204, 304):
                await read_body(self.reader, message, until_eof=True)
            return message

    async def ask(self, data, body=True):
        self.send(data)
        return await self.response(body)

    async def closed(self):
        """The edge closed, and said nothing more."""
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.read() == b""

    async def cut(self):
        """The edge ended the connection before the answer was whole."""
        try:
            message = await self.response()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        raise AssertionError(f"{message} looks whole")

    def reset(self):
        reset(self.writer)

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Edge:
    """Front, pipeline and origin pool of a node named ams-1, its faults collected."""

    origin: RawOrigin
    log_dir: str
    flags: tuple[str, ...] = ()
    faults: list = field(default_factory=list)
    clients: list = field(default_factory=list)
    kill_switch: bool = False
    origin_port: int | None = None

    async def start(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.faults.append(context))
        origin = f"http://127.0.0.1:{self.origin_port or self.origin.port}"
        config = parse_args(["--name", "ams-1", "--origin", origin, *self.flags])
        self.counters = FrontCounters()
        self.inspection = BenchInspection()
        self.log = AccessLog("ams-1", self.log_dir)
        await self.log.open()
        self.origins = OriginPool(config.origin)
        self.pipeline = Pipeline(
            config, self.inspection, self.origins, self.counters, self.log, lambda: self.kill_switch
        )
        self.origins.downstream = self.pipeline
        self.connections = set()
        self._server = await loop.create_server(
            lambda: ClientConnection(self.pipeline, self.connections, b"ams-1"), "127.0.0.1", 0
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def client(self, **options):
        self.clients.append(await Client.connect(self.port, **options))
        return self.clients[-1]

    @property
    def records(self):
        """(outcome, reason) of each access-log line."""
        return [(line.outcome, line.reason) for line in self.lines]

    @property
    def lines(self):
        """The access log. Nothing is written out before the end."""
        return [msgspec.json.decode(line, type=AccessLogLine) for line in self.log.pending]

    async def settled(self, *records):
        """These are the outcomes, in any order, each logged once and counted once."""
        await eventually(lambda: len(self.lines) >= len(records), f"{len(records)} access-log lines", PATIENCE_S)
        assert sorted(self.records) == sorted(records)

    async def stop(self):
        for client in self.clients:
            client.reset()
        try:
            await eventually(lambda: not self.connections, "the front's connections end")
            await eventually(lambda: not self.pipeline.in_flight, "nothing is in flight")
        finally:
            self._server.close()
            self.origins.close()
            for connection in self.connections:
                connection._transport.abort()
            lines, seen = self.lines, self.counters.snapshot()
            await self.log.close()
        assert self.faults == []
        assert seen.by_outcome == Counter(line.outcome for line in lines)
        assert seen.by_reason == Counter(line.reason for line in lines)
        assert seen.due == len(lines)
        assert len({line.request_id for line in lines}) == len(lines)
