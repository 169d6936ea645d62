"""The operator's commands: what a person on call says to a running deployer."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from contract.messages import FleetView, Guard, RollbackRequest, RolloutRequest
from contract.vocabulary import Strategy
from deployer.client import DeployerClient, DeployerError

ApiOption = Annotated[str, typer.Option("--api", metavar="URL", help="The deployer.", envvar="BADGATEWAY_API")]
DEFAULT_API = "http://127.0.0.1:8070"

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    app.command(epilog="example: badgateway fleet")(fleet)
    app.command(epilog="example: badgateway deploy drills/rulesets/managed-2019-07-02.yaml")(deploy)
    app.command(epilog="example: badgateway rollback --reason '502 everywhere since the push'")(rollback)
    app.command("kill-switch", epilog="example: badgateway kill-switch on")(kill_switch)


def fleet(api: ApiOption = DEFAULT_API) -> None:
    """Show what every node runs."""
    view = _call(api, lambda deployer: deployer.fleet())
    Console().print(_table(view))
    desired = view.desired.label if view.desired else "none"
    good = view.last_known_good.label if view.last_known_good else "none"
    state = f", rollout {view.rollout.state}" if view.rollout else ""
    print(f"desired {desired}, last known good {good}, epoch {view.epoch}{state}")


def deploy(
    file: Annotated[Path, typer.Argument(help="Rule set, YAML.", exists=True, dir_okay=False)],
    strategy: Annotated[Strategy, typer.Option(help="How the rollout widens.")] = Strategy.EVERYWHERE,
    guard_above: Annotated[float, typer.Option(min=0, max=1, help="Bad ratio that triggers a rollback.")] = 0.5,
    guard_for_s: Annotated[float, typer.Option(min=0, help="For how long it has to last.")] = 8.0,
    no_guard: Annotated[bool, typer.Option("--no-guard", help="No automated rollback.")] = False,
    note: Annotated[str, typer.Option(help="Why; kept in the journal.")] = "",
    api: ApiOption = DEFAULT_API,
) -> None:
    """Store a rule set and push it to the fleet."""
    guard = None if no_guard else Guard(guard_above, guard_for_s)

    async def push(deployer: DeployerClient) -> str:
        stored = await deployer.put_rule_set(file.read_bytes())
        request = RolloutRequest(stored.ref.digest, _who(), strategy, guard, note)
        rollout = await deployer.start_rollout(request)
        return (
            f"{stored.name} is {stored.ref.label} ({stored.rules} rules); rollout {rollout.id} is {rollout.state}"
        )

    print(_call(api, push))


def rollback(
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Default: the last known good.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the journal.")] = "",
    api: ApiOption = DEFAULT_API,
) -> None:
    """Bring an earlier rule set back, from any state."""

    async def order(deployer: DeployerClient) -> str:
        view = await deployer.rollback(RollbackRequest(_who(), to, reason))
        desired = (await deployer.fleet()).desired
        label = desired.label if desired else "nothing"
        return f"the fleet goes to {label}: {view.state}, waiting for {len(view.waiting_for)} nodes"

    print(_call(api, order))


def kill_switch(
    state: Annotated[str, typer.Argument(metavar="on|off", help="on: skip inspection everywhere.")],
    api: ApiOption = DEFAULT_API,
) -> None:
    """Skip inspection on every node, or inspect again. While it is on, nothing is protected."""
    if state not in ("on", "off"):
        raise typer.BadParameter("say on or off")
    _call(api, lambda deployer: deployer.kill_switch(state == "on", _who()))
    print("inspection is skipped on every node" if state == "on" else "inspection is on again")


def _call(api: str, work: Callable[[DeployerClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with DeployerClient(api) as deployer:
            return await work(deployer)

    try:
        return asyncio.run(run())
    except DeployerError as fault:
        hint = f"; nearest: {', '.join(fault.nearest)}" if fault.nearest else ""
        print(f"error: {fault}{hint}", file=sys.stderr)
        raise typer.Exit(2) from None


def _table(view: FleetView) -> Table:
    table = Table("node", "PoP", "cohort", "runs", "state", "control", "hot rule", box=None, header_style="bold")
    for node in view.nodes:
        state = "silent" if not node.connected or node.silent_s > 1 else "ok"
        report = node.report
        if report is not None and report.kill_switch:
            state = "unprotected"
        hot = report.hottest if report is not None else None
        table.add_row(
            node.hello.node,
            node.hello.pop,
            node.hello.cohort,
            node.active.label if node.active else "nothing",
            state,
            f"{node.control_ms:.1f} ms" if node.control_ms is not None else "",
            f"{hot.rule} {hot.held_s:.1f} s" if hot is not None and hot.held_s > 0.2 else "",
        )
    return table


def _who() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()
