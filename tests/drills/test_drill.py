"""Drill files: what is read, what `--set` changes, and the words of every refusal."""

import msgspec
import pytest

from contract.vocabulary import Engine, Standby
from drills.drill import (
    DrillError,
    Traffic,
    find_drill,
    load_drill,
    parse_settings,
    read_rule_sets,
    setting_keys,
    shipped_drills,
    variant,
)

SMALL = """
name: small
title: A small drill
rules: {healthy: managed.yaml, push: managed-2019-07-02.yaml}
"""

REFUSED = {
    "name: [": "not valid YAML",
    "- a": "a drill is a mapping",
    SMALL + "tilte: x": "tilte",
    SMALL + "traffic: {rate_per_s: fast}": "$.traffic.rate_per_s",
    SMALL + "traffic: {rate_per_s: 0}": "$.traffic.rate_per_s",
    SMALL + "traffic: {rate_per_s: 6000}": "$.traffic.rate_per_s",
    SMALL + "edge: {standby: hot}": "$.edge.standby",
    SMALL + "procedure: prayer": "automated, none",
    SMALL + "fleet: [ams-3]": "ams-1",
    SMALL + "fleet: []": "$.fleet",
    SMALL + "fleet: [ams-1, ams-1]": "$.fleet",
    SMALL + "objectives: [{score: bad_ratio.peek, at_most: 1}]": "$.objectives[0].score",
    SMALL + "objectives: [{score: bad_ratio.peak}]": "at_most",
    SMALL + "engine: quick": "$.engine",
}


@pytest.mark.parametrize("yaml", REFUSED)
def test_a_fault_is_one_line_with_its_key_path(yaml: str) -> None:
    with pytest.raises(DrillError) as refusal:
        load_drill(yaml, {}, "small.yaml")
    assert REFUSED[yaml] in str(refusal.value)
    assert str(refusal.value).startswith("small.yaml: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("seed", "7", lambda drill: drill.seed == 7),
        ("engine", "linear", lambda drill: drill.engine is Engine.LINEAR),
        ("edge.standby", "none", lambda drill: drill.edge.standby is Standby.NONE),
        ("rollout.guard.for_s", "2", lambda drill: drill.rollout.guard.for_s == 2),
        ("rollout.guard", "null", lambda drill: drill.rollout.guard is None),
        ("fleet", "ams-1,sjc-2", lambda drill: drill.fleet == ("ams-1", "sjc-2")),
        ("without_rule", "waf-xss-2019-07-02", lambda drill: drill.without_rule == "waf-xss-2019-07-02"),
    ],
)
def test_set_changes_one_key(key: str, value: str, read) -> None:  # type: ignore[no-untyped-def]
    assert not read(load_drill(SMALL, {}, "s"))
    assert read(load_drill(SMALL, {key: value}, "s"))


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(DrillError, match=r"rollout\.guard\.for_s"):
        load_drill(SMALL, {"rollout.guard.for": "2"}, "s")
    with pytest.raises(DrillError, match="write key=value"):
        parse_settings(["engine"])


def test_an_unknown_drill_names_the_nearest() -> None:
    with pytest.raises(DrillError, match="nearest: cloudflare-2019"):
        find_drill("cloudfare-2019", {})
    with pytest.raises(DrillError, match="No such file"):
        find_drill("mine.yaml", {})


def test_every_shipped_drill_can_be_read_and_names_itself() -> None:
    shipped = shipped_drills()
    assert "cloudflare-2019" in shipped
    for name, file in shipped.items():
        drill = find_drill(name, {})
        assert drill.name == name
        assert drill.objectives
        assert len(file.read_text().splitlines()) < 60
        assert len(set(read_rule_sets(drill))) == 2


def test_the_2019_rule_is_exact_and_simulated() -> None:
    drill = find_drill("cloudflare-2019", {})
    healthy, pushed = map(msgspec.yaml.decode, read_rule_sets(drill))
    assert len(healthy["rules"]) >= 12
    assert pushed["rules"][:-1] == healthy["rules"]
    rule = pushed["rules"][-1]
    assert len(rule["pattern"]) == 132
    assert rule["pattern"].endswith(r".*(?:.*=.*)))")
    assert rule["action"] == "log"
    assert rule["targets"] == ["uri", "args", "headers", "body"]


def test_a_variant_changes_engine_or_rule_and_nothing_else() -> None:
    yaml = b"name: x\nengine: backtracking\nrules:\n- {id: a, pattern: p, targets: [uri], engine: backtracking}\n"
    assert variant(yaml, None, None) is yaml
    linear = msgspec.yaml.decode(variant(yaml, Engine.LINEAR, None))
    assert linear["engine"] == "linear"
    assert linear["rules"] == [{"id": "a", "pattern": "p", "targets": ["uri"]}]
    assert msgspec.yaml.decode(variant(yaml, None, "a"))["rules"] == []


def test_a_rule_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(DrillError, match="nearest: waf-xss-2019-07-02"):
        read_rule_sets(find_drill("cloudflare-2019", {"without_rule": "waf-xss-2019-07"}))


def test_users_suffice_for_the_wall() -> None:
    assert Traffic(rate_per_s=150, user_deadline_s=1).users == 240
    assert Traffic(rate_per_s=1).users == 8


def test_setting_keys_are_the_documented_ones() -> None:
    assert {"engine", "without_rule", "traffic.rate_per_s", "rollout.guard.for_s"} <= set(setting_keys())
