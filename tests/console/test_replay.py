"""A replay shows what was shown, at any speed, from any moment."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from console.feed import Feed
from console.replay import Replay, ReplayControl
from console.state import RunState
from contract.record import View
from contract.vocabulary import StatusWord
from tests.fakes.clock import FakeClock
from tests.fakes.outage import END, HEAD, PUSH, outage, write


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def replay(tmp_path: Path, clock: FakeClock) -> Replay:
    return Replay(write(tmp_path, outage()), 20.0, clock, Feed())


def test_it_shows_what_was_shown(replay: Replay, clock: FakeClock) -> None:
    state = RunState(HEAD)
    lines = iter(sorted(outage(), key=lambda line: line.t))
    line = next(lines)
    for turn in range(1, int(END)):
        clock.t = 1000.0 + turn / 20
        t = replay.now_t()
        while line.t <= t:
            state.apply(line)
            line = next(lines)
        assert replay.view() == msgspec.structs.replace(state.view(t), replay_speed=20.0)


def test_it_ends_with_the_record(replay: Replay, clock: FakeClock) -> None:
    assert not replay.view().ended
    clock.advance(END / 20 + 1)
    view = replay.view()
    assert (view.ended, view.status, view.t) == (True, StatusWord.RECOVERED, END)


def test_a_record_that_was_cut_short_ends_too(tmp_path: Path, clock: FakeClock) -> None:
    cut = Replay(write(tmp_path, [line for line in outage() if line.t < 25]), 20.0, clock, Feed())
    clock.advance(10)
    assert cut.view().ended
    assert cut.view().status is StatusWord.BAD_GATEWAY


def test_speed_and_moment_can_be_changed(replay: Replay, clock: FakeClock) -> None:
    clock.advance(1.5)
    assert replay.now_t() == pytest.approx(30.0)
    replay.view()
    replay.control(ReplayControl(speed=0))
    clock.advance(5)
    assert replay.now_t() == pytest.approx(30.0)
    replay.control(ReplayControl(t=PUSH + 5))  # back
    assert replay.view().status is StatusWord.BAD_GATEWAY
    replay.control(ReplayControl(speed=2))
    clock.advance(1)
    assert replay.now_t() == pytest.approx(PUSH + 7)
    for wrong in (ReplayControl(speed=-1), ReplayControl(t=END + 1)):
        with pytest.raises(ValueError, match=r"expected|lasts"):
            replay.control(wrong)


async def test_the_feed_gives_the_newest_and_skips_the_rest() -> None:
    feed = Feed()
    view = RunState(HEAD).view(0.0)
    for t in (1.0, 2.0, 3.0):
        feed.publish(msgspec.structs.replace(view, t=t))
    news = await feed.after(0)
    assert news is not None
    assert msgspec.json.decode(news[1], type=View).t == 3.0
    waiting = asyncio.ensure_future(feed.after(news[0]))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.close()
    assert await waiting is None
