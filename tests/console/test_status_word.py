"""The one word at the top of the screen, and the sentence under it."""

from collections import Counter

import msgspec
import pytest

from console.facts import Facts
from console.sentence import sentence
from console.status_word import recovered_since, status_word
from contract.vocabulary import StatusWord as W

#: Eight nodes, all well, 60 s into a run.
WELL = Facts(
    now_t=60.0,
    previous=W.HEALTHY,
    started=True,
    nodes=8,
    nodes_up=8,
    bad_ratio=0.0,
    good_since=3.0,
    intended=9000,
    version="v1",
    origins_up=True,
)
#: A push ten seconds ago that every node runs.
PUSHED = msgspec.structs.replace(
    WELL, push_t=50.0, target="v2", earlier="v1", confirmed=8, confirmed_all_t=50.1, version="v2"
)
WALL = {"bad_ratio": 0.93, "bad_gateway_share": 1.0, "good_since": None, "outage": True}

CASES: list[tuple[str, W, Facts, dict[str, object], str]] = [
    # what it is, word, from, changed facts, a part of the sentence
    (
        "nodes missing",
        W.STARTING,
        WELL,
        {"previous": W.STARTING, "started": False, "nodes_up": 5},
        "5 of 8 nodes",
    ),
    ("no evidence", W.STARTING, WELL, {"previous": W.STARTING, "started": False, "bad_ratio": None}, "waiting"),
    (
        "first answers bad",
        W.STARTING,
        WELL,
        {"previous": W.STARTING, "started": False, "bad_ratio": 1.0},
        "nodes",
    ),
    ("first good answers", W.HEALTHY, WELL, {"previous": W.STARTING, "started": False}, "8 nodes on v1"),
    ("all well", W.HEALTHY, WELL, {}, "All traffic is served"),
    ("a node away", W.HEALTHY, WELL, {"nodes_up": 7, "silent": ("nrt-1",)}, "nrt-1 is silent"),
    ("silence keeps the word", W.BAD_GATEWAY, PUSHED, {"previous": W.BAD_GATEWAY, "bad_ratio": None}, ""),
    ("a little bad", W.HEALTHY, WELL, {"bad_ratio": 0.07}, ""),
    ("a little bad, falling", W.BAD_GATEWAY, WELL, {"bad_ratio": 0.07, "previous": W.BAD_GATEWAY}, "7 %"),
    ("no more bad", W.HEALTHY, WELL, {"bad_ratio": 0.04, "previous": W.BAD_GATEWAY}, ""),
    ("on its way", W.PUSHING, PUSHED, {"out": True, "confirmed": 3, "confirmed_all_t": None}, "3 of 8 nodes"),
    ("everywhere, not yet seen", W.PUSHING, PUSHED, {"confirmed_all_t": 58.0}, "watching"),
    ("everywhere, and well", W.HEALTHY, PUSHED, {}, "on v2"),
    ("wall", W.BAD_GATEWAY, PUSHED, WALL, "502 to 93 % of requests; the origins are healthy"),
    ("wall while on its way", W.BAD_GATEWAY, PUSHED, {**WALL, "out": True}, "502"),
    ("wall of time-outs", W.BAD_GATEWAY, PUSHED, {**WALL, "bad_gateway_share": 0.1}, "93 % of requests fail"),
    ("no node at all", W.BAD_GATEWAY, WELL, {"bad_ratio": 1.0, "nodes_up": 0}, "No node answers"),
    ("origins down", W.BAD_GATEWAY, WELL, {"bad_ratio": 1.0, "origins_up": False}, "origins do not answer"),
    (
        "rolling back",
        W.ROLLING_BACK,
        PUSHED,
        {**WALL, "rollback_t": 59.0, "back": 5},
        "Rollback in progress: 5 of 8",
    ),
    (
        "by a machine",
        W.ROLLING_BACK,
        PUSHED,
        {**WALL, "rollback_t": 59.0, "automated": True},
        "Automated rollback",
    ),
    (
        "back, good, not yet held",
        W.ROLLING_BACK,
        PUSHED,
        {"rollback_t": 58.0, "reverted_t": 58.1, "outage": True, "good_since": 58.4},
        "All nodes are back on v1",
    ),
    (
        "back, still draining",
        W.ROLLING_BACK,
        PUSHED,
        {**WALL, "rollback_t": 58.0, "reverted_t": 59.0},
        "back on v1",
    ),
    (
        "back, and still bad",
        W.BAD_GATEWAY,
        PUSHED,
        {**WALL, "rollback_t": 50.5, "reverted_t": 51.0},
        "Every node is back on v1, and still the edge answers 502",
    ),
    (
        "recovered",
        W.RECOVERED,
        PUSHED,
        {"rollback_t": 58.0, "reverted_t": 58.1, "recovered": True, "outage": True, "served_again_t": 61.25},
        "11.2 s after the push",
    ),
    (
        "long recovered",
        W.RECOVERED,
        PUSHED,
        {"now_t": 900.0, "recovered": True, "reverted_t": 58.1},
        "served again",
    ),
    ("bad again", W.BAD_GATEWAY, PUSHED, {**WALL, "recovered": True, "reverted_t": 51.0}, "still"),
    ("kill switch", W.UNPROTECTED, PUSHED, {"kill_switch_on": 8}, "kill switch is on at 8 of 8 nodes"),
    ("kill switch, one node", W.UNPROTECTED, WELL, {"kill_switch_on": 1}, "1 of 8"),
    ("kill switch did not help", W.BAD_GATEWAY, PUSHED, {**WALL, "kill_switch_on": 2}, "502"),
    (
        "stuck",
        W.STUCK,
        PUSHED,
        {**WALL, "stuck": True, "waiting_for": ("iad-1", "nrt-1")},
        "iad-1 and nrt-1 have",
    ),
    (
        "stuck over kill switch",
        W.STUCK,
        PUSHED,
        {"stuck": True, "kill_switch_on": 6, "waiting_for": ("a",)},
        "a has",
    ),
    ("unsent", W.INVALID, WELL, {"unsent": 91}, "1.0 % of its requests were never sent"),
    ("unsent over the wall", W.INVALID, PUSHED, {**WALL, "unsent": 900}, "10.0 %"),
    ("just not unsent", W.HEALTHY, WELL, {"unsent": 90}, ""),
    ("too few to tell", W.HEALTHY, WELL, {"intended": 199, "unsent": 100}, ""),
]


@pytest.mark.parametrize(("name", "word", "facts", "changed", "said"), CASES, ids=[case[0] for case in CASES])
def test_word_and_sentence(name: str, word: W, facts: Facts, changed: dict[str, object], said: str) -> None:
    facts = msgspec.structs.replace(facts, **changed)
    assert status_word(facts) is word
    assert said in sentence(word, facts)


def test_every_word_is_reached_and_none_means_unknown() -> None:
    assert set(Counter(word for _, word, *_ in CASES)) == set(W)
    assert "UNKNOWN" not in set(W)


REVERTED = msgspec.structs.replace(PUSHED, rollback_t=52.0, reverted_t=52.2, remedied_t=52.2, outage=True)


@pytest.mark.parametrize(
    ("changed", "since_t"),
    [
        ({"good_since": 57.0}, 57.0),
        ({"good_since": 57.1}, None),  # has not held for 3 s
        ({"good_since": None}, None),
        ({"good_since": 57.0, "remedied_t": None}, None),  # good again by itself is no recovery
        ({"good_since": 57.0, "recovered": True}, None),  # said once
        ({"good_since": 3.0, "outage": False}, 52.2),  # taken back before anybody noticed
        ({"good_since": 3.0, "outage": False, "remedied_t": 58.0}, None),
        # Served already while the last node has not confirmed: said after it has, and dates back.
        ({"good_since": 52.0, "remedied_t": 56.9}, 52.0),
        ({"good_since": 52.0, "remedied_t": 57.1}, None),
    ],
)
def test_recovered_since(changed: dict[str, object], since_t: float | None) -> None:
    assert recovered_since(msgspec.structs.replace(REVERTED, **changed)) == since_t
