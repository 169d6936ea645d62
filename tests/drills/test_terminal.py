"""The terminal tells the story of a run: drawn where it can be, in lines where it cannot."""

import io
import re

import msgspec
import pytest
from aiohttp import web
from rich.console import Console

from console.state import RunState
from contract.record import View
from contract.vocabulary import StatusWord
from drills.terminal import BANNERS, log_lines, progress_line, render, show
from tests.fakes.outage import END, HEAD, PUSH, outage


def views(*moments: float) -> list[View]:
    state = RunState(HEAD)
    lines = iter(sorted(outage(), key=lambda line: line.t))
    line = next(lines, None)
    made = []
    for t in moments:
        while line is not None and line.t <= t:
            state.apply(line)
            line = next(lines, None)
        made.append(state.view(t))
    return made


def drawn(view: View, width: int = 100) -> str:
    out = Console(file=io.StringIO(), width=width, force_terminal=False)
    out.print(render(view, width))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_wall_is_drawn() -> None:
    text = drawn(views(PUSH + 6)[0])
    assert "▲  5 0 2" in text
    assert "T+ 00:06.0" in text
    assert "The edge answers 502 to" in text
    assert "waf-team ships v2" in text
    assert "origins healthy" in text
    assert len(re.findall(r"▲ \w+-\d +v2 .* (9\d|100) % CPU quota", text)) == 8


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_and_keeps_its_height(width: int) -> None:
    early, wall, end = (drawn(view, width) for view in views(10.0, PUSH + 6, END))
    assert all(len(row) <= width for row in wall.splitlines())
    assert len(early.splitlines()) == len(wall.splitlines()) == len(end.splitlines())


def test_every_word_has_a_banner() -> None:
    view = views(10.0)[0]
    for word in StatusWord:
        text = drawn(msgspec.structs.replace(view, status=word))
        assert f"{BANNERS[word][0]}  {' '.join(word)}" in text
    assert len({glyph for glyph, _ in BANNERS.values()}) == len(StatusWord)  # told apart without colour


def test_an_empty_view_can_be_drawn() -> None:
    assert "no requests yet" in drawn(RunState(HEAD).view(0.0))


def test_each_event_is_a_line_once() -> None:
    moments = [t / 4 for t in range(int(END * 4) + 2)]
    previous: View | None = None
    lines: list[str] = []
    for view in views(*moments):
        lines += log_lines(previous, view)
        previous = view
    text = "\n".join(lines)
    words = re.findall(r"\[([A-Z0-9 ]+)\]", text)
    assert words == ["STARTING", "HEALTHY", "PUSHING", "502", "ROLLING BACK", "RECOVERED"]
    assert text.count("waf-team ships v2 to every node at once") == 1
    assert "T+9.4 s  absolute guard: 94 % of requests bad" in text
    assert len(lines) == len(set(lines)) < 30


def test_figures_of_the_moment() -> None:
    line = progress_line(views(PUSH + 6)[0])
    assert re.search(r"T\+6\.0 s  \[502\] \d+ served and 1[45]\d failed of 150 requests/s, p99 1\.0 s", line)
    assert re.search(r"inspectors at (9\d|100) % of quota; origins healthy, outside probe 502 in 1\.0 s", line)


async def test_without_a_terminal_lines_are_printed_until_the_run_ends() -> None:
    told = iter(views(5.0, PUSH + 1.5, PUSH + 6.6, END))
    answer = next(told)

    async def view(_: web.Request) -> web.Response:
        nonlocal answer
        now, answer = answer, next(told, answer)
        return web.Response(body=msgspec.json.encode(now))

    app = web.Application()
    app.router.add_get("/api/v1/view", view)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    out = io.StringIO()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    last = await show(url, rich_console=Console(file=out, width=60))
    await runner.cleanup()
    assert last is not None
    assert last.ended
    rows = out.getvalue().splitlines()
    assert [row for row in rows if "[502]" in row and "served and" in row], (
        "a line of figures where nothing happens"
    )
    assert "Objectives met" in out.getvalue()
    assert "\x1b" not in out.getvalue()


async def test_a_console_that_is_lost_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drills.terminal.LOST_AFTER_S", 0.0)
    assert await show("http://127.0.0.1:1", rich_console=Console(file=io.StringIO())) is None
