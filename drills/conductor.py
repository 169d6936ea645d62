"""The order of a drill: every branch stands here, what is called does not branch on the path.

    fleet ready → warm-up → before → push ∥ traffic ∥ procedure → recovered → after → end → score → report

Waits are for conditions, each with a deadline and a sentence for when it passes.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec

from contract.messages import RolloutRequest
from contract.record import RunBegin, RunEnd, RunHead, View
from contract.topology import Endpoints
from contract.vocabulary import EventKind, RolloutState, StatusWord
from deployer.client import DeployerClient, DeployerError
from drills.child import ChildFailed
from drills.drill import Drill, read_rule_sets
from drills.environment import environment
from drills.observer import Observer, ObserverLost
from drills.report import write_report
from drills.rundir import RunDir, create_run_dir, link_latest
from drills.score import Score, conclude, score
from drills.stack import Ports, Stack, StackPlan

FLEET_READY_TIMEOUT_S = 30.0
LOGS_TIMEOUT_S = 5.0
_LOOK_S = 0.25
#: What cannot be seen of a stack in other PID namespaces.
_LOCAL_ONLY = frozenset({"pss_mib_peak"})
#: A page that every node must be able to fetch before the drill begins.
_FIRST_PAGE_HOST = "news.example"


class DrillFailed(Exception):
    """The drill could not be carried through; the message is one line. Exit code 2."""


class Screen(Protocol):
    """What a drill shows while it runs."""

    def say(self, sentence: str) -> None: ...
    def follow(self, console_url: str) -> Awaitable[None]: ...


@dataclass(frozen=True)
class Result:
    run_dir: RunDir
    score: Score
    report: Path


async def conduct(
    drill: Drill, settings: dict[str, str], runs: Path, screen: Screen, page_port: int = 0
) -> Result:
    """Run one drill on a stack of its own, and end all of it. Raises DrillFailed."""
    healthy, push = read_rule_sets(drill)
    run_dir = create_run_dir(runs, drill.name, _stamp())
    (run_dir.path / "rules-push.yaml").write_bytes(push)
    began = time.monotonic()
    plan = StackPlan(
        folder=run_dir.path,
        logs=run_dir.logs,
        nodes=drill.nodes,
        edge=drill.edge,
        rules=healthy,
        seed=drill.seed,
        ports=Ports(console=page_port),
    )
    stack = Stack(plan, screen.say)
    try:
        page = await stack.start_observer()
        screen.say(f"live page: {page}")
        endpoints = await stack.start()
        await _fleet_answers(endpoints)
        ready_s = time.monotonic() - began
        screen.say(f"{len(endpoints.nodes)} nodes answer after {ready_s:.1f} s")

        async def start_traffic() -> None:
            await stack.start_traffic(drill.traffic, drill.seed)

        async with _conducting(drill, settings, run_dir, endpoints, os.getpid(), screen) as course:
            course.watch(stack)
            await course.run(push, ready_s, start_traffic, stack.stop_traffic)
    except (ChildFailed, ObserverLost, DeployerError) as fault:
        raise DrillFailed(str(fault)) from None
    finally:
        await stack.stop()
        _discard_if_not_begun(run_dir)
    return conclude_run(run_dir, drill, bool(settings))


async def conduct_attached(
    drill: Drill, settings: dict[str, str], runs: Path, screen: Screen, endpoints: Endpoints, logs: Path
) -> Result:
    """Run one drill on a stack that is up and has its own traffic; `logs`: where its processes write.

    The fleet and its settings are the stack's own. Raises DrillFailed.
    """
    _, push = read_rule_sets(drill)
    run_dir = create_run_dir(runs, drill.name, _stamp())
    _use_logs(run_dir, logs)
    (run_dir.path / "rules-push.yaml").write_bytes(push)
    began = time.monotonic()
    try:
        await _fleet_answers(endpoints)
        ready_s = time.monotonic() - began
        async with _conducting(drill, settings, run_dir, endpoints, None, screen) as course:
            await course.run(push, ready_s, _nothing, _nothing)
        await _logs_reach(run_dir.logs, time.time())
    except (ObserverLost, DeployerError) as fault:
        raise DrillFailed(str(fault)) from None
    objectives = tuple(objective for objective in drill.objectives if objective.score not in _LOCAL_ONLY)
    return conclude_run(run_dir, msgspec.structs.replace(drill, objectives=objectives), bool(settings))


def conclude_run(run_dir: RunDir, drill: Drill, changed: bool) -> Result:
    """Score what was recorded and write the report."""
    measured = conclude(score(run_dir.load()), drill.objectives, changed)
    report = write_report(run_dir, measured)
    link_latest(run_dir)
    return Result(run_dir, measured, report)


class _Course:
    """The timeline of one drill on a stack that answers."""

    def __init__(self, drill: Drill, observer: Observer, deployer: DeployerClient, run_dir: RunDir) -> None:
        self._drill = drill
        self._observer = observer
        self._deployer = deployer
        self._run_dir = run_dir
        self._stack: Stack | None = None

    def watch(self, stack: Stack) -> None:
        """Fail when one of its processes ends unasked."""
        self._stack = stack

    async def run(
        self,
        push: bytes,
        ready_s: float,
        start_traffic: Callable[[], Awaitable[None]],
        stop_traffic: Callable[[], Awaitable[None]],
    ) -> None:
        timeline, tell = self._drill.timeline, self._observer.tell
        await tell(EventKind.NOTE, f"all nodes answer after {ready_s:.1f} s", ready_s=round(ready_s, 3))
        await start_traffic()
        await tell(EventKind.TRAFFIC_START, f"{self._drill.traffic.rate_per_s:g} requests a second begin")
        await self._pass(timeline.warm_up_s)
        await tell(EventKind.NOTE, "warmed up; what comes is the baseline", phase="before")
        await self._pass(timeline.before_s)
        await self._push(push)
        await self._until_over()
        await self._pass(timeline.after_s)
        await stop_traffic()
        await self._observer.end(RunEnd("ended", "The drill is over.", str(self._run_dir.path / "report.html")))

    async def _push(self, yaml: bytes) -> None:
        drill = self._drill
        stored = await self._deployer.put_rule_set(yaml)
        guard = drill.rollout.guard if drill.procedure == "automated" else None
        rollout = await self._deployer.start_rollout(
            RolloutRequest(stored.ref.digest, "drill", drill.rollout.strategy, guard, f"drill {drill.name}")
        )
        if rollout.state is RolloutState.REFUSED:
            raise DrillFailed(f"the deployer refused the push: {rollout.reason}")

    async def _until_over(self) -> None:
        """Until service is back; or nothing happened; or the outage has lasted as long as it may."""
        pushed = time.monotonic()
        timeline = self._drill.timeline
        while True:
            view = await self._look()
            since_push = time.monotonic() - pushed
            if view.status is StatusWord.RECOVERED:
                return
            alarmed = view.status is not StatusWord.HEALTHY or _has(view, EventKind.PAGE, EventKind.ROLLBACK)
            if since_push >= timeline.observe_s and not alarmed:
                await self._observer.tell(
                    EventKind.NOTE, f"nothing happened within {timeline.observe_s:g} s of the push"
                )
                return
            if since_push >= timeline.outage_limit_s:
                await self._observer.tell(
                    EventKind.NOTE, f"not recovered within {timeline.outage_limit_s:g} s of the push"
                )
                return

    async def _pass(self, duration_s: float) -> None:
        """Let the drill's own time pass; this is the timeline, not a wait for something."""
        ends = time.monotonic() + duration_s
        while time.monotonic() < ends:
            await self._look()

    async def _look(self) -> View:
        await asyncio.sleep(_LOOK_S)
        if self._stack is not None and (dead := self._stack.dead()):
            raise DrillFailed(f"{dead[0].name} ended during the drill: {dead[0].last_words()}")
        return await self._observer.view()


@contextlib.asynccontextmanager
async def _conducting(
    drill: Drill,
    settings: dict[str, str],
    run_dir: RunDir,
    endpoints: Endpoints,
    root_pid: int | None,
    screen: Screen,
) -> AsyncIterator[_Course]:
    """The record is open and the screen follows it, until the course is over or has failed."""
    head = RunHead(
        drill=drill.name,
        title=drill.title,
        stamp=run_dir.path.name,
        seed=drill.seed,
        procedure=drill.procedure,
        started_at=time.time(),
        settings=settings,
        environment=environment(),
    )
    async with Observer(endpoints.console) as observer, DeployerClient(endpoints.deployer) as deployer:
        await observer.begin(RunBegin(str(run_dir.path.resolve()), head, endpoints, root_pid))
        following = asyncio.ensure_future(screen.follow(endpoints.console))
        try:
            yield _Course(drill, observer, deployer, run_dir)
        except BaseException:
            with contextlib.suppress(ObserverLost):
                await observer.end(RunEnd("failed", "The drill was broken off."))
            raise
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _fleet_answers(endpoints: Endpoints) -> None:
    """Until every node is ready and serves a page from its origin. Raises DrillFailed."""
    deadline = time.monotonic() + FLEET_READY_TIMEOUT_S
    timeout = aiohttp.ClientTimeout(total=2.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        waiting = {node.name: node for node in endpoints.nodes}
        while waiting:
            answers = await asyncio.gather(
                *(_serves(session, node.admin, node.edge) for node in waiting.values())
            )
            waiting = {
                name: node for (name, node), good in zip(waiting.items(), answers, strict=True) if not good
            }
            if waiting and time.monotonic() > deadline:
                raise DrillFailed(
                    f"not ready within {FLEET_READY_TIMEOUT_S:g} s: {', '.join(waiting)}; see their logs"
                )
            await asyncio.sleep(0.05 if waiting else 0)


async def _serves(session: aiohttp.ClientSession, admin: str, edge: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"{admin}/ready") as ready:
            if ready.status != 200:
                return False
        async with session.get(edge, headers={"Host": _FIRST_PAGE_HOST}) as page:
            return page.status == 200
    return False


def _has(view: View, *kinds: EventKind) -> bool:
    return any(mark.kind in kinds for mark in view.marks)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _discard_if_not_begun(run_dir: RunDir) -> None:
    """A drill that never began leaves no run behind, unless a process wrote down why."""
    begun = (run_dir.path / "run.json").exists()
    if not begun and all(log.stat().st_size == 0 for log in run_dir.logs.glob("*.log") if log.stem != "console"):
        shutil.rmtree(run_dir.path)
        with contextlib.suppress(OSError):
            run_dir.path.parent.rmdir()


def _use_logs(run_dir: RunDir, logs: Path) -> None:
    """The stack's own logs stand in for the run's; the record cuts them to the run's window."""
    run_dir.logs.rmdir()
    run_dir.logs.symlink_to(os.path.relpath(logs, run_dir.path), target_is_directory=True)


async def _logs_reach(logs: Path, ended_at: float) -> None:
    """Until every log of a stack that goes on has been written to since the run ended: what it holds back is
    then of later requests. A process that writes nothing any more is not waited for."""
    deadline = time.monotonic() + LOGS_TIMEOUT_S
    while _oldest_write(logs) < ended_at + 0.5:
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.1)


def _oldest_write(logs: Path) -> float:
    return min((log.stat().st_mtime for log in logs.glob("*.jsonl")), default=0.0)


async def _nothing() -> None:
    """An attached stack has its own traffic, which goes on."""


def read_endpoints(path: Path) -> Endpoints:
    """Raises DrillFailed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except OSError as fault:
        raise DrillFailed(f"{path}: {fault.strerror}; is a stack up? start one with: badgateway up") from None
    except msgspec.DecodeError as fault:
        raise DrillFailed(f"{path}: {fault}") from None
