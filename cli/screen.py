"""What a drill shows in the terminal: sentences, the live view, and the result as numbers and a path."""

from rich.console import Console
from rich.table import Table

from contract.vocabulary import RunVerdict
from drills.conductor import Result
from drills.score import Score
from drills.terminal import show

_COLOURS = {RunVerdict.MET: "green", RunVerdict.NOT_MET: "yellow", RunVerdict.INVALID: "red"}


class TerminalScreen:
    """Colours and live drawing when it is a terminal that wants them; plain lines otherwise."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)

    def say(self, sentence: str) -> None:
        self._console.print(sentence)

    async def follow(self, console_url: str) -> None:
        await show(console_url, rich_console=self._console)

    def show_result(self, result: Result) -> None:
        measured = result.score
        colour = _COLOURS[measured.verdict]
        self._console.print(f"\n[bold {colour}]{measured.verdict.replace('_', ' ')}[/]  {measured.title}")
        self._console.print(_figures(measured))
        for reason in measured.reasons:
            self._console.print(f"  {reason}")
        self._console.print(f"report: {result.report}", soft_wrap=True)


def _figures(measured: Score) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    ratio, timing = measured.bad_ratio, measured.timing_s
    rows = (
        ("bad before / peak / after", " / ".join(map(_percent, (ratio.before, ratio.peak, ratio.after)))),
        ("push to recovered", _seconds(timing.push_to_recovered)),
        (
            "detect + diagnose + decide + act + recover",
            " + ".join(
                map(_seconds, (timing.detect, timing.diagnose, timing.decide, timing.act, timing.recover))
            ),
        ),
        ("failed requests", f"{measured.requests.bad_gateway + measured.requests.other_failures:,}"),
        (
            "memory of the whole stack",
            "-" if measured.pss_mib_peak is None else f"{measured.pss_mib_peak:.0f} MiB",
        ),
    )
    for name, value in rows:
        table.add_row(name, value)
    return table


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2%}" if ratio < 0.1 else f"{ratio:.0%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
