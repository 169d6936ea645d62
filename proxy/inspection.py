"""The front's hold on its inspectors: forks generations through the forkserver, swaps them, ends the old.

A rule set becomes active as a generation: loaded and compiled by the forkserver, inspectors forked with it,
each heard to be ready, then swapped in; only then are the old ones killed. KILL, because an inspector that
is stopped or inside a match takes nothing else.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
import time
from collections import Counter
from typing import Any, cast

from contract.messages import HotRule, InspectorStatus, RuleSetText
from contract.vocabulary import Pool, RefusalReason, Standby
from proxy.config import NodeConfig
from proxy.forkserver import (
    Drop,
    Fork,
    Forked,
    ForkserverHandle,
    Load,
    Loaded,
    LoadRefused,
    Reply,
    decode_reply,
    encode,
)
from proxy.frames import READY_ID, pack_inspection, unpack_verdicts
from proxy.pools import InspectionPools, Job
from proxy.quota import TICK_S, Order, QuotaBucket, QuotaKeeper
from proxy.slot import Slot
from rules.evaluate import LINEAR_SET

#: Compiling and forking take milliseconds; a node on a starved machine may need some seconds.
ACTIVATION_TIMEOUT_S = 10.0
#: An inspector that cannot be forked now may be in a while; a machine that cannot fork is not helped by trying.
REFORK_PAUSE_S = 0.5
_SIGNALS = {Order.STOP: signal.SIGSTOP, Order.RUN: signal.SIGCONT}


class ActivationRefused(Exception):
    """A rule set that this node will not run; it goes on with what it has."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class InspectorLink(asyncio.Protocol):
    """The front's end of one inspector: socket, slot and pidfd."""

    def __init__(self, inspection: "Inspection", pool: Pool, generation: int, rules: tuple[str, ...]) -> None:
        self.pool = pool
        self.generation = generation
        self.rules = rules
        self.in_flight: dict[int, Job] = {}
        self.alive = True
        self.slot = Slot.create()
        self.pid = 0
        self.pidfd = -1
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inspection = inspection
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._outgoing: list[bytes] = []
        self._cpu_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, job: Job) -> None:
        """Frames of one loop turn leave in one write."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(pack_inspection(job.id, job.attempt_deadline, job.uri, job.headers, job.body))

    def _flush(self) -> None:
        frames, self._outgoing = self._outgoing, []
        if self.alive and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for frame in unpack_verdicts(self._buffer):
            if frame.id == READY_ID:
                if not self.ready.done():
                    self.ready.set_result(None)
            else:
                self._inspection.pools.answered(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the inspector died before it was ready"))
            self.ready.exception()  # retrieved: the caller may have given up waiting
        if self.alive:
            self.end()
            self._inspection.on_link_lost(self)

    def cpu_s(self) -> float:
        """User + system CPU since the fork, by the process's own CPU clock; the last reading once it is gone."""
        if self.alive and self.pid:
            with contextlib.suppress(OSError):  # gone this very moment
                self._cpu_s = max(self._cpu_s, time.clock_gettime((~self.pid << 3) | 2))
        return self._cpu_s

    def signal(self, number: signal.Signals) -> None:
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def end(self) -> None:
        """Kill the process and let go of everything; its CPU stays counted."""
        if not self.alive:
            return
        self.cpu_s()
        self.alive = False
        self.signal(signal.SIGKILL)
        if self._transport is not None:
            self._transport.abort()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.slot.close()

    def hot(self, now: float) -> HotRule | None:
        current = self.slot.read() if self.alive else None
        if current is None:
            return None
        index, since = current
        name = "linear_set" if index == LINEAR_SET else self.rules[index] if index < len(self.rules) else "?"
        return HotRule(name, max(0.0, now - since), self.pool)


class Inspection:
    """All inspectors of one node. Create inside the running loop."""

    def __init__(self, config: NodeConfig, forkserver: ForkserverHandle) -> None:
        self._config = config
        self._forkserver = _ForkserverChannel(forkserver)
        order = (Pool.PRIMARY,) if config.standby is Standby.NONE else (Pool.PRIMARY, Pool.STANDBY)
        self.pools = InspectionPools(
            order, config.inspection_deadline_s, config.inspection_queue, config.inspection_window
        )
        self.active: RuleSetText | None = None
        self._rules: dict[Pool, tuple[str, ...]] = {}
        self._links: list[InspectorLink] = []
        self._ended_cpu_s = 0.0
        self._generation = 0
        self._standby_text: RuleSetText | None = None
        self.quota = QuotaKeeper(QuotaBucket(config.cpu_quota, time.monotonic()), self.cpu_s, self._signal_all)
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep_time(self) -> None:
        """The quota and the deadlines, every TICK_S, for the node's life."""
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self.quota.tick(now)
            self.pools.sweep(now)

    async def activate(self, active: RuleSetText, last_known_good: RuleSetText | None) -> None:
        """Run `active` from now on. Raises ActivationRefused, and then nothing has changed."""
        standby = active
        if self._config.standby is Standby.LAST_KNOWN_GOOD and last_known_good is not None:
            standby = last_known_good
        texts = {Pool.PRIMARY: active, Pool.STANDBY: standby}
        rules = {text.ref.digest: await self._forkserver.load(text) for text in texts.values()}
        generation = self._generation + 1
        links: list[InspectorLink] = []
        try:
            for pool in self.pools.order:
                for _ in range(self._config.inspectors):
                    links.append(InspectorLink(self, pool, generation, rules[texts[pool].ref.digest]))
            await self._make_ready([(link, texts[link.pool].ref.digest) for link in links])
        except BaseException as fault:  # cancelled too: nobody else knows of these processes
            self._end(links)
            if not isinstance(fault, (TimeoutError, OSError)):
                raise
            raise ActivationRefused(
                RefusalReason.ACTIVATION, str(fault) or f"no inspector ready in {ACTIVATION_TIMEOUT_S:g} s"
            ) from None
        self._generation = generation
        self.active, self._standby_text = active, standby
        self._rules = {pool: rules[text.ref.digest] for pool, text in texts.items()}
        old, self._links = self._links, links
        self.pools.replace([*links])
        self._end(old)
        self.quota.renew(time.monotonic())
        keep = {text.ref.digest for text in (active, standby, last_known_good) if text is not None}
        self._forkserver.drop_all_but(keep)

    async def _make_ready(self, links: list[tuple[InspectorLink, str]]) -> None:
        """Fork each with its digest; all are alive when this returns. Raises TimeoutError, OSError."""
        async with asyncio.timeout(ACTIVATION_TIMEOUT_S):
            for link, digest in links:
                await self._forkserver.fork(link, digest)
            await asyncio.gather(*(link.ready for link, _ in links))
        if not all(link.alive for link, _ in links):
            raise ConnectionError("an inspector died while the others were made ready")

    def on_link_lost(self, link: InspectorLink) -> None:
        """An inspector died by itself or by someone's hand: fork another of the same generation."""
        self.pools.lost(link)
        if link in self._links:
            self._links.remove(link)
            self._ended_cpu_s += link.cpu_s()
            task = asyncio.get_running_loop().create_task(self._refork(link.pool, link.generation))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refork(self, pool: Pool, generation: int) -> None:
        """Until the pool has its inspector again, or another generation has taken over."""
        while generation == self._generation:
            try:
                if await self._fork_one(pool, generation):
                    return
            except (ActivationRefused, TimeoutError, OSError) as fault:
                print(f"{self._config.name}: {pool} inspector not forked: {fault}", file=sys.stderr, flush=True)
            await asyncio.sleep(REFORK_PAUSE_S)

    async def _fork_one(self, pool: Pool, generation: int) -> bool:
        """Whether the pool has one more inspector."""
        text = self._standby_text if pool is Pool.STANDBY else self.active
        assert text is not None
        link = InspectorLink(self, pool, generation, await self._forkserver.load(text))
        try:
            await self._make_ready([(link, text.ref.digest)])
        except BaseException:
            self._end([link])
            raise
        if generation != self._generation:
            self._end([link])
            return False
        self._links.append(link)
        self.pools.add(link)
        return True

    def cpu_s(self) -> float:
        """CPU seconds of all inspectors that this node ever had."""
        return self._ended_cpu_s + sum(link.cpu_s() for link in self._links)

    def hottest(self, now: float) -> HotRule | None:
        """The rule that has been under evaluation for longest at this moment."""
        hot = [rule for link in self._links if (rule := link.hot(now)) is not None]
        return max(hot, key=lambda rule: rule.held_s, default=None)

    def statuses(self) -> tuple[InspectorStatus, ...]:
        return tuple(
            InspectorStatus(
                link.pid,
                link.pool,
                link.generation,
                link.cpu_s(),
                len(link.in_flight),
                self.pools.waiting(link.pool),
                link.alive,
            )
            for link in self._links
        )

    def name_hits(self, hits: tuple[int, ...], pool: Pool | None) -> Counter[str]:
        """`pool`: who answered; the standby may hold another set."""
        rules = self._rules.get(pool, ()) if pool is not None else ()
        return Counter(rules[index] for index in hits if index < len(rules))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.pools.replace([])
        self._end(self._links)
        self._links = []
        self._forkserver.close()

    def _end(self, links: list[InspectorLink]) -> None:
        for link in links:
            link.end()
            self._ended_cpu_s += link.cpu_s()

    def _signal_all(self, order: Order) -> None:
        for link in self._links:
            link.signal(_SIGNALS[order])


_FORKSERVER_GONE = "the forkserver has ended: restart this node"


class _ForkserverChannel:
    """Asks the forkserver and awaits its replies, which come in the order of the requests."""

    def __init__(self, handle: ForkserverHandle) -> None:
        self._handle = handle
        self._sock = handle.sock
        self._sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._on_readable)
        self._loads: dict[str, list[asyncio.Future[Loaded | LoadRefused]]] = {}
        self._forks: dict[int, asyncio.Future[tuple[int, int]]] = {}
        self._token = 0

    async def load(self, text: RuleSetText) -> tuple[str, ...]:
        """Rule ids in index order. Raises ActivationRefused."""
        digest = text.ref.digest
        reply: asyncio.Future[Loaded | LoadRefused] = self._loop.create_future()
        try:
            self._send_load(digest, text.yaml)
            self._loads.setdefault(digest, []).append(reply)
            answer = await asyncio.wait_for(reply, ACTIVATION_TIMEOUT_S)
        except TimeoutError:
            raise ActivationRefused(RefusalReason.ACTIVATION, "the forkserver does not answer") from None
        except ConnectionError:
            raise ActivationRefused(RefusalReason.ACTIVATION, _FORKSERVER_GONE) from None
        except OSError as fault:
            raise ActivationRefused(RefusalReason.ACTIVATION, str(fault)) from None
        if isinstance(answer, LoadRefused):
            raise ActivationRefused(answer.reason, answer.detail)
        return answer.rules

    def _send_load(self, digest: str, yaml: bytes) -> None:
        fd = os.memfd_create("badgateway-rules")
        try:
            os.write(fd, yaml)
            socket.send_fds(self._sock, [encode(Load(digest))], [fd])
        finally:
            os.close(fd)

    async def fork(self, link: InspectorLink, digest: str) -> None:
        """Fork the process behind `link` and connect them."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._token += 1
        reply = self._forks[self._token] = self._loop.create_future()
        try:
            with theirs:
                socket.send_fds(self._sock, [encode(Fork(self._token, digest))], [theirs.fileno(), link.slot.fd])
            link.pid, link.pidfd = await reply
            ours.setblocking(False)
            await self._loop.create_unix_connection(lambda: link, sock=ours)
        except BaseException:
            ours.close()  # by which the child ends, if there is one
            raise

    def drop_all_but(self, digests: set[str]) -> None:
        with contextlib.suppress(ConnectionError):
            self._sock.send(encode(Drop(tuple(digests))))

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._handle.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._handle.pid, 0)

    def _on_readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 64 * 1024, 1)
        except ConnectionError:
            data, fds = b"", []
        if data:
            self._resolve(decode_reply(data), fds)
            return
        self._loop.remove_reader(self._sock.fileno())
        waiting: list[asyncio.Future[Any]] = [*self._forks.values(), *itertools.chain(*self._loads.values())]
        for reply in waiting:
            if not reply.done():
                reply.set_exception(ConnectionError(_FORKSERVER_GONE))

    def _resolve(self, reply: Reply, fds: list[int]) -> None:
        match reply:
            case Forked(token, pid):
                fork = self._forks.pop(token)
                if fork.done():  # nobody waits for this process any more
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(fds[0], signal.SIGKILL)
                    os.close(fds[0])
                else:
                    fork.set_result((pid, fds[0]))
            case Loaded(digest) | LoadRefused(digest):
                waiting = self._loads[digest]
                load = waiting.pop(0)
                if not waiting:
                    del self._loads[digest]
                if not load.done():
                    load.set_result(reply)
