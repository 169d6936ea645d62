"""The commands of `badgateway`. Each reads its words, calls, and turns an error into one line and exit code 2."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from cli import operator
from cli.screen import TerminalScreen
from contract.vocabulary import RunVerdict
from deployer.client import DeployerError
from drills.child import ChildFailed
from drills.conductor import DrillFailed, Result, conduct, conduct_attached, read_endpoints
from drills.drill import DrillError, find_drill, parse_settings, shipped_drills
from drills.machine import MachineUnfit, examine, require_fit
from drills.observer import ObserverLost
from drills.replay import replay_run
from drills.report import write_report
from drills.rundir import RunNotFound, find_run
from drills.score import conclude, score
from drills.standing import keep_up

EXIT_CODES = {RunVerdict.MET: 0, RunVerdict.NOT_MET: 1, RunVerdict.INVALID: 2}
#: 128 + SIGINT, as a shell reports it.
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="badgateway",
    help="A flight simulator for bad deploys: real traffic, a real bad rule, real 502s, a rollback on the clock.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
operator.register(app)

T = TypeVar("T")

RunsOption = Annotated[Path, typer.Option("--runs", help="Where runs are kept.", envvar="BADGATEWAY_RUNS")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the drill; may be given again."),
]
PageOption = Annotated[int, typer.Option("--page-port", help="Port of the live page; 0 takes any free one.")]
AttachOption = Annotated[
    Path | None,
    typer.Option("--attach", metavar="FILE", help="Use a running stack: the endpoints.json it wrote."),
]
LogsOption = Annotated[
    Path | None, typer.Option("--logs", metavar="DIR", help="With --attach: where that stack writes its logs.")
]
DEFAULT_RUNS = Path("runs")


@app.command(epilog="example: badgateway demo")
def demo(runs: RunsOption = DEFAULT_RUNS, page_port: PageOption = 0) -> None:
    """The outage of 2 July 2019 and its automated rollback, in about a minute."""
    _drill("cloudflare-2019", [], runs, page_port)


@app.command(epilog="example: badgateway drill cloudflare-2019 --set engine=linear")
def drill(
    name: Annotated[str, typer.Argument(help="A drill's name (see: badgateway drills) or a YAML file.")],
    settings: SetOption = None,
    runs: RunsOption = DEFAULT_RUNS,
    page_port: PageOption = 0,
    attach: AttachOption = None,
    logs: LogsOption = None,
) -> None:
    """Run one drill. Exit code 0: objectives met, 1: not met, 2: the run cannot be trusted, or bad input."""
    _drill(name, settings or [], runs, page_port, attach, logs)


@app.command()
def drills() -> None:
    """List the drills that ship."""
    table = Table("drill", "what happens", box=None, header_style="bold")
    for name in shipped_drills():
        shipped = _or_exit(lambda name=name: find_drill(name, {}))  # type: ignore[misc]
        table.add_row(name, f"{shipped.title}. {shipped.description.strip()}")
    Console().print(table)


@app.command(epilog="example: badgateway up, and in another terminal: python -m locust -f loadtest/locustfile.py")
def up(
    runs: RunsOption = DEFAULT_RUNS,
    traffic: Annotated[bool, typer.Option("--traffic", help="Start the drill's own users as well.")] = False,
) -> None:
    """Start the stack at fixed addresses and keep it up until Ctrl-C."""
    _or_exit(require_fit)
    _run(keep_up(runs, TerminalScreen(), traffic))


@app.command(epilog="example: badgateway replay latest --speed 5")
def replay(
    run: Annotated[str, typer.Argument(help="latest, a drill's name, DRILL/STAMP, or a run's folder.")],
    speed: Annotated[float, typer.Option("--speed", min=0.1, max=1000, help="1 is real time.")] = 1.0,
    page_port: PageOption = 0,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Play a recorded run on the live page and in the terminal."""
    run_dir = _or_exit(lambda: find_run(run, runs))
    _run(replay_run(run_dir, speed, page_port, TerminalScreen()))


@app.command(epilog="example: badgateway report cloudflare-2019")
def report(
    run: Annotated[str, typer.Argument(help="latest, a drill's name, DRILL/STAMP, or a run's folder.")],
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Score a recorded run again and write its report anew."""
    run_dir = _or_exit(lambda: find_run(run, runs))
    head = _or_exit(run_dir.head)
    shipped = _or_exit(lambda: find_drill(head.drill, {})) if head.drill in shipped_drills() else None
    measured = score(run_dir.load())
    if shipped is not None:
        measured = conclude(measured, shipped.objectives, bool(head.settings))
    typer.echo(write_report(run_dir, measured))


@app.command()
def doctor() -> None:
    """Check this machine: what is missing or too small, and how to get it."""
    table = Table("", "check", "found", "what to do", box=None, header_style="bold")
    unfit = False
    for finding in examine():
        unfit |= finding.needed and not finding.good
        mark = "[green]ok[/]" if finding.good else "[red]NO[/]" if finding.needed else "[yellow]--[/]"
        table.add_row(mark, finding.name, finding.found, "" if finding.good else finding.remedy)
    Console().print(table)
    raise typer.Exit(2 if unfit else 0)


def _drill(
    name: str,
    pairs: list[str],
    runs: Path,
    page_port: int,
    attach: Path | None = None,
    logs: Path | None = None,
) -> None:
    settings = _or_exit(lambda: parse_settings(pairs))
    chosen = _or_exit(lambda: find_drill(name, settings))
    screen = TerminalScreen()
    if attach is None:
        _or_exit(require_fit)
        result = _run(conduct(chosen, settings, runs, screen, page_port))
    else:
        endpoints = _or_exit(lambda: read_endpoints(attach))
        where = logs or attach.parent / "logs"
        result = _run(conduct_attached(chosen, settings, runs, screen, endpoints, where))
    screen.show_result(result)
    raise typer.Exit(_exit_code(result))


def _exit_code(result: Result) -> int:
    return EXIT_CODES[result.score.verdict]


FAULTS = (DrillError, DrillFailed, MachineUnfit, RunNotFound, DeployerError, ChildFailed, ObserverLost)


def _or_exit(call: Callable[[], T]) -> T:
    """The call's value; its fault in one line and exit code 2."""
    try:
        return call()
    except FAULTS as fault:
        _fail(fault)


def _fail(fault: BaseException) -> NoReturn:
    print(f"error: {fault}", file=sys.stderr)
    raise typer.Exit(2) from None


def _run(work: Coroutine[object, object, T]) -> T:
    """Run to the end. One Ctrl-C (or TERM, or a closed terminal) cancels, and the work cleans up after itself."""
    try:
        return asyncio.run(_interruptible(work))
    except FAULTS as fault:
        _fail(fault)
    except asyncio.CancelledError:
        print("interrupted; everything that was started has been ended", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None


async def _interruptible(work: Coroutine[object, object, T]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:  # a second Ctrl-C must not cut the cleaning up short
            interrupted = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    return await task


def main() -> None:
    with contextlib.suppress(BrokenPipeError):
        app()
