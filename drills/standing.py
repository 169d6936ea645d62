"""A stack that stands until it is told to go: `badgateway up`. Fixed addresses, a page, optionally traffic."""

import asyncio
import os
import time
from pathlib import Path

from contract.record import RunBegin, RunHead
from drills.child import ChildFailed
from drills.conductor import Screen
from drills.drill import find_drill, read_rule_sets
from drills.environment import environment
from drills.observer import Observer
from drills.stack import FIXED_PORTS, Stack, StackPlan

#: Whose fleet, rules and traffic stand up.
_DRILL = "cloudflare-2019"
_LOOK_S = 0.5


async def keep_up(runs: Path, screen: Screen, traffic: bool) -> None:
    """Until cancelled, or until one of the processes ends. Raises ChildFailed."""
    drill = find_drill(_DRILL, {})
    folder = _fresh_folder(runs)
    plan = StackPlan(
        folder=folder,
        logs=folder / "logs",
        nodes=drill.nodes,
        edge=drill.edge,
        rules=read_rule_sets(drill)[0],
        seed=drill.seed,
        ports=FIXED_PORTS,
    )
    stack = Stack(plan, screen.say)
    try:
        await stack.start_observer()
        endpoints = await stack.start()
        head = RunHead("up", "The stack", "up", drill.seed, "none", time.time(), environment=environment())
        async with Observer(endpoints.console) as observer:
            await observer.begin(RunBegin(str(folder.resolve()), head, endpoints, os.getpid()))
        if traffic:
            await stack.start_traffic(drill.traffic, drill.seed)
        screen.say(
            f"live page: {endpoints.console}\n"
            f"edge:      {endpoints.nodes[0].edge} … {endpoints.nodes[-1].edge} (Host: news.example)\n"
            f"deployer:  {endpoints.deployer}\n"
            "users:     python -m locust -f loadtest/locustfile.py\n"
            "break it:  badgateway deploy drills/rulesets/managed-2019-07-02.yaml\n"
            "Ctrl-C ends it."
        )
        while not (dead := stack.dead()):  # noqa: ASYNC110  (other processes' state)
            await asyncio.sleep(_LOOK_S)
        raise ChildFailed(f"{dead[0].name} ended: {dead[0].last_words()}")
    finally:
        await stack.stop()


def _fresh_folder(runs: Path) -> Path:
    """`runs/up`, made anew: nothing of an earlier stack is taken up."""
    folder = runs / "up"
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_dir() and not old.is_symlink():
            old.rmdir()
        else:
            old.unlink()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder
