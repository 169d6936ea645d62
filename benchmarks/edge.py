"""CPU per proxied request of an edge node, with and without inspection, beside a plain aiohttp reverse proxy.

One small GET with browser-like headers over 50 keep-alive connections, each variant several times in turn, so
that a noisy machine hits all of them alike. CPU is user + system of all the proxy's processes, by psutil.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import uvloop
from aiohttp import ClientSession, web

from contract.messages import Ready

ROOT = Path(__file__).parent.parent
RULES = ROOT / "drills" / "rulesets" / "managed.yaml"
CONNECTIONS = 50
NODE = (
    "-m proxy --listen 127.0.0.1:0 --admin 127.0.0.1:0 --origin http://127.0.0.1:{origin} --ready-fd {ready_fd}"
)
REQUEST = (
    b"GET /article/4711?ref=front&page=2 HTTP/1.1\r\nHost: news.example\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Referer: http://news.example/\r\nCookie: session=6f1ed002ab5595859014ebf0951522d9\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 512\r\n\r\n" + b"x" * 512


class Origin(asyncio.Protocol):
    """Answers each head at once; knows no more of HTTP than the load sends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        heads = self.seen.count(b"\r\n\r\n")
        if heads:
            self.seen = self.seen.rpartition(b"\r\n\r\n")[2]
            self.transport.write(ANSWER * heads)  # type: ignore[attr-defined]


class User(asyncio.Protocol):
    """One connection: the next request when the last is answered."""

    done = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.left = 0
        self.ask()

    def ask(self) -> None:
        self.transport.write(REQUEST)  # type: ignore[attr-defined]
        self.head = b""
        self.in_head = True

    def data_received(self, data: bytes) -> None:
        if self.in_head:
            self.head += data
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"unexpected answer: {head[:80]!r}")
            self.in_head, self.left = False, 512 - len(body)
        else:
            self.left -= len(data)
        if self.left <= 0:
            User.done += 1
            self.ask()


def aiohttp_proxy(origin: str, port_pipe) -> None:  # type: ignore[no-untyped-def]
    """The peer: a reverse proxy as one would write it with aiohttp's server and client."""

    logging.disable()  # the load hangs up in mid-answer at the end of each round

    async def serve() -> None:
        async with ClientSession(auto_decompress=False) as session:

            async def proxy(request: web.Request) -> web.StreamResponse:
                async with session.request(
                    request.method, origin + request.raw_path, headers=request.headers, data=request.content
                ) as answer:
                    response = web.StreamResponse(status=answer.status, headers=answer.headers)
                    await response.prepare(request)
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                    return response

            app = web.Application()
            app.router.add_route("*", "/{path:.*}", proxy)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port_pipe.send(runner.addresses[0][1])
            await asyncio.Event().wait()

    uvloop.run(serve())


@dataclass
class Variant:
    name: str
    pid: int
    port: int
    microseconds: list[float]
    per_second: list[float]


def node(name: str, origin_port: int, *options: str) -> Variant:
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *NODE.format(origin=origin_port, ready_fd=write_fd).split(), *options],
        pass_fds=(write_fd,),
        cwd=ROOT,
    )
    os.close(write_fd)
    ready = msgspec.json.decode(os.fdopen(read_fd, "rb").readline(), type=Ready)
    return Variant(name, process.pid, int(ready.urls["edge"].rpartition(":")[2]), [], [])


def cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


async def load(port: int, duration_s: float) -> tuple[int, float]:
    loop = asyncio.get_running_loop()
    User.done = 0
    began = time.monotonic()
    users = [(await loop.create_connection(User, "127.0.0.1", port))[0] for _ in range(CONNECTIONS)]
    await asyncio.sleep(duration_s)
    for transport in users:
        transport.abort()
    return User.done, time.monotonic() - began


async def measure(variants: list[Variant], rounds: int, duration_s: float) -> None:
    for number in range(rounds + 1):  # the first is the warm-up
        for variant in variants:
            before = cpu_s(variant.pid)
            requests, took_s = await load(variant.port, duration_s)
            if number:
                variant.microseconds.append((cpu_s(variant.pid) - before) / requests * 1e6)
                variant.per_second.append(requests / took_s)
        print(f"round {number} of {rounds}", file=sys.stderr)


async def compare(rounds: int, duration_s: float, linear: Path) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Origin, "127.0.0.1", 0)
    origin_port = server.sockets[0].getsockname()[1]
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    peer = multiprocessing.get_context("spawn").Process(
        target=aiohttp_proxy, args=(f"http://127.0.0.1:{origin_port}", theirs), daemon=True
    )
    peer.start()
    variants = [
        node("badgateway, no rules", origin_port),
        node("badgateway, 13 rules, linear", origin_port, "--rules", str(linear)),
        node("badgateway, 13 rules, re", origin_port, "--rules", str(RULES)),
        Variant("aiohttp reverse proxy", peer.pid or 0, await asyncio.to_thread(ours.recv), [], []),
    ]
    try:
        await measure(variants, rounds, duration_s)
    finally:
        for variant in variants:
            os.kill(variant.pid, signal.SIGTERM)
    print(f"\n{'proxy':30} {'CPU µs per request, median (min-max)':>40} {'requests/s':>12}")
    for variant in variants:
        micros = variant.microseconds
        spread = f"{statistics.median(micros):.1f} ({min(micros):.1f}-{max(micros):.1f})"
        print(f"{variant.name:30} {spread:>40} {statistics.median(variant.per_second):12,.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=2.0)
    asked = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as rules:
        rules.write(RULES.read_text().replace("engine: backtracking", "engine: linear"))
        rules.flush()
        uvloop.run(compare(asked.rounds, asked.duration_s, Path(rules.name)))
