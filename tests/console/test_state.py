"""The fold and the judges over a whole made-up outage, and its corners one by one."""

from typing import Any

import msgspec
import pytest

from console.judge import JUDGES
from console.state import LOG_LINES, RunState
from contract.messages import RuleSetRef
from contract.record import Event, Line, NodeSample, TrafficSample, View
from contract.topology import FLEET
from contract.vocabulary import EventKind, StatusWord
from tests.fakes.outage import BAD, END, GOOD, HEAD, PUSH, ROLLBACK, TRAFFIC, judged, outage


def folded(lines: list[Line], until_t: float) -> View:
    state = RunState(HEAD)
    for line in lines:
        if line.t <= until_t:
            state.apply(line)
    return state.view(until_t)


def words(lines: list[Line]) -> list[str]:
    return [line.data["word"] for line in lines if isinstance(line, Event) and line.kind is EventKind.STATUS]


def test_the_words_of_an_outage() -> None:
    assert words(outage()) == ["HEALTHY", "PUSHING", "502", "ROLLING BACK", "RECOVERED"]


def test_at_rest() -> None:
    view = folded(outage(), TRAFFIC + 8)
    assert view.status is StatusWord.HEALTHY
    assert view.t_plus is None
    assert [tile.node for tile in view.tiles] == [spec.name for spec in FLEET]
    assert {tile.state for tile in view.tiles} == {"ok"}
    assert {tile.version for tile in view.tiles} == {"v1"}
    assert view.ok_per_s == pytest.approx(150, rel=0.1)
    assert view.bad_per_s == 0
    assert (view.origins_up, view.deployer_up, view.probe_status) == (True, True, 200)


def test_in_the_wall() -> None:
    view = folded(outage(), PUSH + 6.0)
    assert view.status is StatusWord.BAD_GATEWAY
    assert view.t_plus == pytest.approx(6.0)
    assert "; the origins are healthy" in view.sentence
    assert {tile.state for tile in view.tiles} == {"bad"}
    assert {tile.version for tile in view.tiles} == {"v2"}
    assert min(tile.cpu_of_quota or 0.0 for tile in view.tiles) > 0.9
    assert "waf-100531" in {tile.hot_rule for tile in view.tiles}
    assert view.bad_per_s > 0.8 * view.intended_per_s
    wall = [second for second in view.seconds if second.t >= PUSH + 2]
    assert wall
    assert all(second.bad_gateway > 0.8 * second.intended for second in wall)


def test_after_it_the_screen_stands_still() -> None:
    view = folded(outage(), END)
    assert (view.status, view.ended, view.report) == (StatusWord.RECOVERED, True, "report.html")
    assert view.sentence.startswith("All traffic is served again, ")
    assert view.sentence.endswith(" s after the push. Objectives met")
    assert view.t == END
    marks = [mark.kind for mark in view.marks]
    assert marks == ["traffic_start", "push", "page", "decision", "rollback", "reverted", "recovered"]
    recovered = next(e for e in outage() if isinstance(e, Event) and e.kind is EventKind.RECOVERED)
    assert ROLLBACK < recovered.data["since_t"] < ROLLBACK + 1.5
    assert recovered.t - recovered.data["since_t"] >= 3.0
    late = RunState(HEAD)
    for line in outage():
        late.apply(line)
    assert late.view(END + 100) == view


def test_recovered_is_said_once() -> None:
    kinds = [line.kind for line in outage() if isinstance(line, Event)]
    assert kinds.count(EventKind.RECOVERED) == 1
    assert kinds.count(EventKind.NODE_UP) == 8


def test_a_silent_node_is_down_after_a_second_and_up_again() -> None:
    made = [
        msgspec.structs.replace(line, up=False) if _is_node(line, "nrt-1") and 10 <= line.t < 14 else line
        for line in made_only(outage())
    ]
    lines = judged(made, END)
    told = [
        (e.kind, e.t)
        for e in lines
        if isinstance(e, Event) and e.data.get("node") == "nrt-1" and e.source == "console"
    ]
    assert [kind for kind, _ in told] == ["node_up", "node_down", "node_up"]
    assert 10.75 <= told[1][1] <= 11.5
    view = folded(lines, 13.0)
    tile = {tile.node: tile for tile in view.tiles}["nrt-1"]
    assert (tile.state, tile.ok_per_s, tile.cpu_of_quota) == ("silent", 0.0, None)
    assert tile.version == "v1"  # what it ran when it was last heard of
    assert "nrt-1 is silent" in view.sentence


def test_the_deployers_word_about_a_node_is_not_the_observers() -> None:
    state = RunState(HEAD)
    state.apply(event(0.1, EventKind.NODE_UP, "deployer", node="ams-1"))
    assert not state.fleet.node("ams-1").up


def test_a_rollback_without_a_push_in_this_run() -> None:
    made = [
        line
        for line in made_only(outage())
        if not (isinstance(line, Event) and line.kind is EventKind.PUSH)
        and not (isinstance(line, Event) and line.data.get("phase") == "push")
    ]
    lines = judged(made, END)
    assert words(lines) == ["HEALTHY", "502", "ROLLING BACK", "RECOVERED"]
    assert folded(lines, END - 1).t_plus is None
    assert folded(lines, END - 1).sentence == "All traffic is served again"


def test_a_kill_switch_ends_the_outage() -> None:
    on_t = 24.0
    made: list[Line] = []
    for line in made_only(outage()):
        if isinstance(line, Event) and line.t >= ROLLBACK and line.kind is not EventKind.RUN_END:
            continue
        if isinstance(line, NodeSample) and line.t >= on_t:
            line = msgspec.structs.replace(line, kill_switch=True, version=BAD, ok=4, bad_gateway=0)
        if isinstance(line, TrafficSample) and line.t >= on_t + 0.5:
            line = msgspec.structs.replace(line, outcomes={"ok": 75})
        made.append(line)
    made.append(event(on_t, EventKind.KILL_SWITCH, "deployer", on=True, by="operator"))
    lines = judged(sorted(made, key=lambda line: line.t), END)
    assert words(lines) == ["HEALTHY", "PUSHING", "502", "UNPROTECTED"]
    assert [e.kind for e in lines if isinstance(e, Event)].count(EventKind.RECOVERED) == 1
    assert {tile.state for tile in folded(lines, END - 1).tiles} == {"unprotected"}


def test_a_stuck_rollback_names_who_is_missing_until_it_is_done() -> None:
    made = [
        line for line in made_only(outage()) if not (isinstance(line, Event) and line.kind is EventKind.REVERTED)
    ]
    stuck = event(ROLLBACK + 5, EventKind.STUCK, "deployer", waiting_for=["iad-1"])
    done = event(ROLLBACK + 9, EventKind.REVERTED, "deployer")
    lines = judged(sorted([*made, stuck, done], key=lambda line: line.t), END)
    assert words(lines) == ["HEALTHY", "PUSHING", "502", "ROLLING BACK", "STUCK", "ROLLING BACK", "RECOVERED"]
    assert "iad-1 has not confirmed" in folded(lines, ROLLBACK + 7).sentence


def test_without_traffic_the_outside_probe_decides() -> None:
    made = [line for line in made_only(outage()) if not isinstance(line, TrafficSample)]
    assert words(judged(made, END)) == ["HEALTHY", "PUSHING", "502", "ROLLING BACK", "RECOVERED"]


def test_too_many_unsent_requests_void_the_run() -> None:
    made = [
        msgspec.structs.replace(line, outcomes={**line.outcomes, "unsent": 5})
        if isinstance(line, TrafficSample)
        else line
        for line in made_only(outage())
    ]
    assert words(judged(made, END))[-1] == "INVALID"


def test_memory_is_bounded() -> None:
    state = RunState(HEAD)
    for n in range(3000):
        state.apply(event(float(n), EventKind.PAGE, "deployer"))
    view = state.view(3000.0)
    assert len(view.log) == LOG_LINES
    assert len(view.marks) <= 200


def test_a_harmless_push_is_healthy_again() -> None:
    made = [
        line
        if not isinstance(line, NodeSample) or line.version is None
        else msgspec.structs.replace(line, version=BAD if line.t > PUSH + 0.1 else GOOD, bad_gateway=0)
        for line in made_only(outage())
        if not (isinstance(line, Event) and line.t > PUSH + 0.5)
    ]
    made = [
        msgspec.structs.replace(line, outcomes={"ok": 75}) if isinstance(line, TrafficSample) else line
        for line in made
    ]
    assert words(judged(made, END)) == ["HEALTHY", "PUSHING", "HEALTHY"]


def test_an_unknown_line_is_refused() -> None:
    with pytest.raises(TypeError, match="not a line"):
        RunState(HEAD).apply("noise")  # type: ignore[arg-type]


def test_judges_say_nothing_twice() -> None:
    state = RunState(HEAD)
    for line in outage():
        state.apply(line)
    assert [said for judge in JUDGES for said in judge(state, END)] == []


def made_only(lines: list[Line]) -> list[Line]:
    """Without what the judges said."""
    said = {EventKind.STATUS, EventKind.RECOVERED, EventKind.NODE_UP, EventKind.NODE_DOWN}
    return [line for line in lines if not (isinstance(line, Event) and line.kind in said)]


def event(t: float, kind: EventKind, source: str, **data: Any) -> Event:
    return Event(t, kind, source, kind.value, data)


def _is_node(line: Line, name: str) -> bool:
    return isinstance(line, NodeSample) and line.node == name


def test_versions_are_told_apart_by_digest() -> None:
    state = RunState(HEAD)
    sample = next(line for line in outage() if isinstance(line, NodeSample))
    state.apply(msgspec.structs.replace(sample, version=RuleSetRef("c" * 64, 1)))
    assert state.fleet.on(GOOD) == ()
