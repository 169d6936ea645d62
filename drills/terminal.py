"""The live view in the terminal: the same story as the page, from the console's `View`, four times a second.

In: the console's address. Out: a picture that is redrawn where the output is a terminal that wants colours; one
line for each thing that happens, and one every few seconds, where it is a file, a pipe or NO_COLOR. `render`
and `log_lines` are pure; `show` fetches and prints.
"""

import asyncio

import aiohttp
import msgspec
from rich import box
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from contract.record import Mark, Second, Tile, View
from contract.vocabulary import EventKind, StatusWord

PERIOD_S = 0.25

#: Without anything new to tell, a line of figures this often (seconds of the record).
PROGRESS_EVERY_S = 5.0

#: A console that does not answer for this long will not come back.
LOST_AFTER_S = 5.0

OK, BAD, OTHER, QUIET = "dodger_blue1", "dark_orange", "medium_purple", "grey62"

#: Word → style of the banner. The glyph says the same without colour.
BANNERS: dict[StatusWord, tuple[str, str]] = {
    StatusWord.STARTING: ("◌", "bold"),
    StatusWord.HEALTHY: ("●", f"bold {OK}"),
    StatusWord.PUSHING: ("▶", "bold"),
    StatusWord.BAD_GATEWAY: ("▲", f"bold black on {BAD}"),
    StatusWord.ROLLING_BACK: ("◀", f"bold {BAD}"),
    StatusWord.RECOVERED: ("✔", f"bold white on {OK}"),
    StatusWord.UNPROTECTED: ("◇", f"bold {OK}"),
    StatusWord.STUCK: ("■", f"bold {BAD}"),
    StatusWord.INVALID: ("✕", "bold strike"),
}

CHART_ROWS = 6
LOG_ROWS = 6
BAR_CELLS = 8
NOTE_CELLS = 14
TWO_COLUMNS_FROM = 132
EIGHTHS = " ▁▂▃▄▅▆▇█"

#: Told by the status line already.
NOT_PRINTED = frozenset({EventKind.STATUS})


async def show(console_url: str, *, rich_console: Console) -> View | None:
    """Follow the console until its run has ended (the last view is returned), it is lost, or cancelled."""
    timeout = aiohttp.ClientTimeout(total=2.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        if rich_console.is_terminal and not rich_console.no_color:
            return await _show_live(session, console_url, rich_console)
        return await _show_lines(session, console_url, rich_console)


async def _show_live(session: aiohttp.ClientSession, url: str, out: Console) -> View | None:
    """Redrawn in place; what was on screen last stays there."""
    view: View | None = None
    with Live(console=out, auto_refresh=False, vertical_overflow="crop") as live:
        while (newer := await _next(session, url, view)) is not None:
            view = newer
            live.update(render(view, out.width), refresh=True)
            if view.ended:
                break
            await asyncio.sleep(PERIOD_S)
    return view


async def _show_lines(session: aiohttp.ClientSession, url: str, out: Console) -> View | None:
    view: View | None = None
    printed_t = 0.0
    while (newer := await _next(session, url, view)) is not None:
        lines = log_lines(view, newer)
        if not lines and newer.t - printed_t >= PROGRESS_EVERY_S:
            lines = [progress_line(newer)]
        if lines:
            printed_t = newer.t
            out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        view = newer
        if view.ended:
            break
        await asyncio.sleep(PERIOD_S)
    return view


async def _next(session: aiohttp.ClientSession, url: str, last: View | None) -> View | None:
    """The newest view; None once the console has not answered for LOST_AFTER_S."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LOST_AFTER_S
    while True:
        try:
            async with session.get(f"{url}/api/v1/view") as answer:
                return msgspec.json.decode(await answer.read(), type=View)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(PERIOD_S)


# ---- A picture ----


def render(view: View, width: int) -> RenderableType:
    """The whole live view, `width` cells wide."""
    return Group(
        _banner(view, width),
        _outcomes(view, width),
        _fleet(view.tiles, width),
        _strip(view),
        _log(view),
    )


def _banner(view: View, width: int) -> RenderableType:
    glyph, style = BANNERS[view.status]
    word = Text(f"  {glyph}  {' '.join(view.status)}", style=style)
    clock = Text(f"{clock_text(view)}  ", style=style)
    head = Table.grid(expand=True)
    head.add_column(ratio=1)
    head.add_column(justify="right")
    head.add_row(word, clock)
    sentence = Text(f"     {view.sentence}", style=style, no_wrap=True, overflow="ellipsis")
    replay = f" · replay {view.replay_speed:g}x" if view.replay_speed is not None else ""
    return Panel(
        Group(Text(""), head, sentence, Text("")),
        title=Text(f"{view.title}{replay}", style="not bold"),
        title_align="left",
        box=box.HEAVY,
        style=style if " on " in style else "",
        border_style=style,
        padding=0,
        width=width,
    )


def _outcomes(view: View, width: int) -> RenderableType:
    """Columns a second, newest at the right; served below, 502 above it."""
    room = max(width - 8, 10)
    shown = view.seconds[-room:]
    top = max((_height(second) for second in shown), default=0)
    if not top:
        return Text(f"{'':7}no requests yet\n", style=QUIET)
    rows = []
    for row in range(CHART_ROWS, 0, -1):
        line = Text(f"{top if row == CHART_ROWS else '':>5} ", style=QUIET)
        for second in shown:
            line.append(*_cell(second, row, top))
        rows.append(line)
    legend = Text("      per second: ", style=QUIET)
    for name, style in (("served", OK), ("502", BAD), ("other", OTHER)):
        legend.append("■ ", style=style)
        legend.append(f"{name}  ", style=QUIET)
    legend.append(f"intended {view.intended_per_s:.0f}, p99 {_ms(view.latency_ms_p99)}", style=QUIET)
    return Group(*rows, legend, Text(""))


def _height(second: Second) -> int:
    return max(second.intended, second.ok + second.bad_gateway + second.other + second.unsent)


def _cell(second: Second, row: int, top: int) -> tuple[str, str]:
    """One character of a column: the colour of what fills most of it, as high as it is filled."""
    per_row = top / CHART_ROWS
    low, high = (row - 1) * per_row, row * per_row
    edges = []
    below = 0
    for n, style in ((second.ok, OK), (second.bad_gateway, BAD), (second.other, OTHER), (second.unsent, QUIET)):
        filled = max(0.0, min(below + n, high) - max(below, low))
        below += n
        edges.append((filled, style))
    filled = sum(part for part, _ in edges)
    if filled <= 0:
        return " ", ""
    eighth = max(1, round(8 * filled / per_row))
    return EIGHTHS[min(eighth, 8)], max(edges)[1]


def _fleet(tiles: tuple[Tile, ...], width: int) -> RenderableType:
    """One column of nodes, or two where there is room."""
    columns = 2 if width >= TWO_COLUMNS_FROM else 1
    half = -(-len(tiles) // columns)
    side_by_side = Table.grid(padding=(0, 2))
    side_by_side.add_row(*(_nodes(tiles[i * half : (i + 1) * half]) for i in range(columns)))
    return side_by_side


def _nodes(tiles: tuple[Tile, ...]) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in range(7):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=NOTE_CELLS, max_width=NOTE_CELLS)
    for tile in tiles:
        table.add_row(*_node(tile))
    return table


def _node(tile: Tile) -> tuple[Text, ...]:
    glyph, style, note = {
        "ok": ("●", OK, ""),
        "bad": ("▲", BAD, "failing"),
        "silent": ("○", QUIET, "silent"),
        "unprotected": ("◇", OK, "no inspection"),
    }[tile.state]
    if tile.hot_rule and tile.state != "silent":
        note = f"in {tile.hot_rule}"
    cpu = tile.cpu_of_quota
    return (
        Text(f"  {glyph}", style=style),
        Text(f"{tile.node:<6}", style="bold"),
        Text(f"{tile.version or '-':<4}", style="bold"),
        _bar(cpu),
        Text(f"{'-' if cpu is None else format(100 * cpu, '.0f'):>3} % CPU quota"),
        Text(f"{tile.ok_per_s:3.0f} ok/s"),
        Text(f"{tile.bad_per_s:3.0f} 502/s", style=BAD if tile.bad_per_s >= 1 else QUIET),
        Text(note, style=style, overflow="ellipsis"),
    )


def _bar(share: float | None) -> Text:
    """Share of the CPU quota, in eighths of a cell."""
    eighths = round(8 * BAR_CELLS * min(max(share or 0.0, 0.0), 1.0))
    full, rest = divmod(eighths, 8)
    filled = "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
    bar = Text(filled, style=BAD if (share or 0.0) >= 0.85 else OK)
    return bar.append("·" * (BAR_CELLS - len(filled)), style="grey37")


def _strip(view: View) -> RenderableType:
    cells = (
        ("origins", origins_text(view), view.origins_up is not False and not view.origin_errors),
        ("outside probe", probe_text(view), view.probe_status is None or 0 < view.probe_status < 500),
        ("deployer", _answers(view.deployer_up), view.deployer_up is not False),
        ("failed", f"{view.bad_per_s:.0f} of {view.ok_per_s + view.bad_per_s:.0f}/s", view.bad_per_s < 1),
    )
    strip = Text("\n  ")
    for name, words, good in cells:
        strip.append(f"{name} ", style=QUIET)
        strip.append(words, style="bold" if good else f"bold {BAD}")
        strip.append("   ")
    return strip.append("\n")


def _log(view: View) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style=QUIET, no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for mark in view.log[-LOG_ROWS:]:
        table.add_row(since_text(view, mark.t), Text(mark.text))
    for _ in range(LOG_ROWS - min(len(view.log), LOG_ROWS)):
        table.add_row("", "")  # so that the picture keeps its height
    return Align.left(table)


# ---- Lines ----


def log_lines(previous: View | None, view: View) -> list[str]:
    """What is new since `previous`: a line for each event, and one for a new status word, in order of time."""
    known = set() if previous is None else {_key(mark) for mark in previous.log}
    lines = [
        f"{since_text(view, mark.t):>9}  {mark.text}"
        for mark in view.log
        if _key(mark) not in known and mark.kind not in NOT_PRINTED
    ]
    if previous is None or previous.status is not view.status:
        lines.append(f"{since_text(view, view.t):>9}  [{view.status}] {view.sentence}")
    return lines


def progress_line(view: View) -> str:
    """The figures of the moment."""
    cpu = [tile.cpu_of_quota for tile in view.tiles if tile.cpu_of_quota is not None]
    burn = f", inspectors at {100 * max(cpu):.0f} % of quota" if cpu else ""
    rates = f"{view.ok_per_s:.0f} served and {view.bad_per_s:.0f} failed"
    return (
        f"{since_text(view, view.t):>9}  [{view.status}] {rates}"
        f" of {view.intended_per_s:.0f} requests/s, p99 {_ms(view.latency_ms_p99)}{burn};"
        f" origins {origins_text(view)}, outside probe {probe_text(view)}"
    )


def _key(mark: Mark) -> tuple[float, EventKind, str]:
    return mark.t, mark.kind, mark.text


# ---- Words ----


def clock_text(view: View) -> str:
    if view.t_plus is None:
        return f"{view.t:.1f} s"
    minutes, seconds = divmod(int(view.t_plus * 10), 600)
    return f"T+ {minutes:02d}:{seconds // 10:02d}.{seconds % 10}"


def since_text(view: View, t: float) -> str:
    """When: from the push where there was one, else from the run's begin."""
    if view.t_plus is None:
        return f"{t:.1f} s"
    return f"T{t - (view.t - view.t_plus):+.1f} s"


def origins_text(view: View) -> str:
    if view.origins_up is None:
        return "-"
    if not view.origins_up:
        return "silent"
    return f"{view.origin_errors} errors" if view.origin_errors else "healthy"


def probe_text(view: View) -> str:
    if view.probe_status is None:
        return "-"
    return f"{view.probe_status} in {_ms(view.probe_ms)}" if view.probe_status else "no answer"


def _answers(up: bool | None) -> str:
    return "-" if up is None else "answers" if up else "silent"


def _ms(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
