"""A drill file: what happens, in which order, and what is asked of it. YAML in, one frozen record out.

`--set key=value` changes a key before the record is made, so that a changed drill is checked like a written
one. Every fault is one line with its key path.
"""

import difflib
import subprocess
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from contract.messages import Guard
from contract.topology import FLEET, NODES_BY_NAME, NodeSpec
from contract.vocabulary import Engine, FailurePolicy, Standby, Strategy
from drills.objective import Objective
from drills.score import is_score_path

#: Procedures that this version can put under test: who decides to roll back.
PROCEDURES = ("automated", "none")


class DrillError(ValueError):
    """A drill that cannot be run; the message is one line and names the fix."""


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: A quarter of a core for Locust and the origins together.
    rate_per_s: float = 150.0
    #: After this long a user gives up; with the rate it decides how many users are needed.
    user_deadline_s: float = 1.0

    @property
    def users(self) -> int:
        """Enough that a user is free for each request even while all wait out the deadline."""
        return max(8, round(1.6 * self.rate_per_s * self.user_deadline_s))


class Edge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    standby: Standby = Standby.SAME
    on_inspection_failure: FailurePolicy = FailurePolicy.BAD_GATEWAY
    cpu_quota: float = 0.12
    inspectors: int = 1
    inspection_deadline_s: float = 1.0
    inspect_body_bytes: int = 8192


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rule set files: a name out of the drills that ship, or a path."""

    healthy: str
    push: str


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    strategy: Strategy = Strategy.EVERYWHERE
    guard: Guard | None = Guard()


class Timeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`observe_s`: without an alarm for this long after the push, nothing happened. `outage_limit_s`: after
    this long the drill ends, recovered or not."""

    warm_up_s: float = 4.0
    before_s: float = 14.0
    observe_s: float = 20.0
    outage_limit_s: float = 45.0
    after_s: float = 14.0


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    rules: Rules
    description: str = ""
    seed: int = 2019
    procedure: str = "automated"
    #: Names out of the default fleet; null is all of it.
    fleet: tuple[str, ...] | None = None
    traffic: Traffic = Traffic()
    edge: Edge = Edge()
    rollout: Rollout = Rollout()
    timeline: Timeline = Timeline()
    objectives: tuple[Objective, ...] = ()
    #: Run every rule of both sets in this engine.
    engine: Engine | None = None
    #: Leave this rule out of both sets.
    without_rule: str | None = None

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        return FLEET if self.fleet is None else tuple(NODES_BY_NAME[name] for name in self.fleet)


def load_drill(yaml: str, settings: dict[str, str], source: str) -> Drill:
    """`settings`: dotted key → YAML text of its value. Raises DrillError."""
    try:
        tree = msgspec.yaml.decode(yaml)
    except msgspec.DecodeError as fault:
        raise DrillError(f"{source}: not valid YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(tree, dict):
        raise DrillError(f"{source}: a drill is a mapping of keys; docs/drills.md lists them")
    for key, value in settings.items():
        _set(tree, key, value)
    try:
        drill = msgspec.convert(tree, Drill, strict=False)
    except msgspec.ValidationError as fault:
        raise DrillError(f"{source}: {fault}") from None
    _check(drill, source)
    return drill


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """`key=value`, each once. Raises DrillError."""
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise DrillError(f"--set {pair}: write key=value, for example --set engine=linear")
        settings[key] = value
    return settings


def _set(tree: dict[str, Any], key: str, value: str) -> None:
    known = setting_keys()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.4)
        raise DrillError(f"--set {key}: no such key; nearest: {', '.join(near) or ', '.join(known)}")
    try:
        parsed = msgspec.yaml.decode(value)
    except msgspec.DecodeError:
        parsed = value
    if key == "fleet" and isinstance(parsed, str):
        parsed = [name.strip() for name in parsed.split(",")]
    branch: Any = tree
    *path, leaf = key.split(".")
    for part in path:
        branch = branch.setdefault(part, {}) if branch.get(part) is not None else _fresh(branch, part)
    branch[leaf] = parsed


def _fresh(branch: dict[str, Any], part: str) -> dict[str, Any]:
    branch[part] = {}
    return branch[part]  # type: ignore[no-any-return]


def setting_keys() -> list[str]:
    """Every dotted key that `--set` takes."""
    sections: dict[str, type[msgspec.Struct]] = {
        "traffic": Traffic,
        "edge": Edge,
        "rollout": Rollout,
        "timeline": Timeline,
        "rules": Rules,
    }
    keys = ["seed", "procedure", "fleet", "engine", "without_rule", "rollout.guard.above", "rollout.guard.for_s"]
    for section, struct in sections.items():
        keys += [f"{section}.{field.name}" for field in msgspec.structs.fields(struct)]
    return sorted(keys)


def _check(drill: Drill, source: str) -> None:
    """What the types cannot say. Raises DrillError."""
    if drill.procedure not in PROCEDURES:
        raise DrillError(
            f"{source}: procedure {drill.procedure!r} is none of {', '.join(PROCEDURES)} - at `$.procedure`"
        )
    for position, name in enumerate(drill.fleet or ()):
        if name not in NODES_BY_NAME:
            near = difflib.get_close_matches(name, NODES_BY_NAME, n=3) or list(NODES_BY_NAME)
            raise DrillError(f"{source}: no node {name!r}; nearest: {', '.join(near)} - at `$.fleet[{position}]`")
    if drill.fleet is not None and (not drill.fleet or len(set(drill.fleet)) != len(drill.fleet)):
        raise DrillError(f"{source}: a fleet is one or more different nodes - at `$.fleet`")
    for position, objective in enumerate(drill.objectives):
        if not is_score_path(objective.score):
            raise DrillError(f"{source}: no score {objective.score!r} - at `$.objectives[{position}].score`")
    positive = {
        "traffic.rate_per_s": drill.traffic.rate_per_s,
        "edge.cpu_quota": drill.edge.cpu_quota,
        "edge.inspectors": drill.edge.inspectors,
        "edge.inspection_deadline_s": drill.edge.inspection_deadline_s,
        "timeline.outage_limit_s": drill.timeline.outage_limit_s,
    }
    for key, value in positive.items():
        if value <= 0:
            raise DrillError(f"{source}: {value} is not above 0 - at `$.{key}`")
    if drill.traffic.rate_per_s > 5000:
        raise DrillError(f"{source}: at most 5000 requests a second - at `$.traffic.rate_per_s`")


# ---- The drills and rule sets that ship ----


def shipped_drills() -> dict[str, Traversable]:
    """Name → file, in alphabetical order."""
    files = resources.files("drills").joinpath("library").iterdir()
    return {file.name.removesuffix(".yaml"): file for file in sorted(files, key=lambda file: file.name)}


def find_drill(name: str, settings: dict[str, str]) -> Drill:
    """A shipped drill by name, or a drill file by path. Raises DrillError with the nearest names."""
    shipped = shipped_drills()
    if name in shipped:
        return load_drill(shipped[name].read_text(), settings, name)
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        try:
            return load_drill(path.read_text(), settings, name)
        except OSError as fault:
            raise DrillError(f"{name}: {fault.strerror}") from None
    near = difflib.get_close_matches(name, shipped, n=3, cutoff=0.3) or list(shipped)
    raise DrillError(f"no drill {name!r}; nearest: {', '.join(near)}")


def read_rule_sets(drill: Drill) -> tuple[bytes, bytes]:
    """The healthy set and the one to push, in the drill's engine and without its left-out rule.

    Raises DrillError for a missing file, an unknown rule to leave out, or a set that no node would run.
    """
    healthy, push = (_read_rule_set(name) for name in (drill.rules.healthy, drill.rules.push))
    known = {rule["id"] for yaml in (healthy, push) for rule in msgspec.yaml.decode(yaml)["rules"]}
    if drill.without_rule is not None and drill.without_rule not in known:
        near = difflib.get_close_matches(drill.without_rule, sorted(known), n=3, cutoff=0.3) or sorted(known)
        raise DrillError(f"without_rule: no rule {drill.without_rule!r}; nearest: {', '.join(near)}")
    return variant(healthy, drill.engine, drill.without_rule), variant(push, drill.engine, drill.without_rule)


def _read_rule_set(name: str) -> bytes:
    """A shipped rule set by name or a file by path, checked as a node checks it, in a process of its own: the
    rule language is the nodes' and the deployer's."""
    shipped = resources.files("drills").joinpath("rulesets", name)
    try:
        yaml = shipped.read_bytes() if shipped.is_file() and "/" not in name else Path(name).read_bytes()
    except OSError as fault:
        raise DrillError(f"rule set {name}: {fault.strerror}") from None
    checked = subprocess.run([sys.executable, "-m", "rules", "-"], input=yaml, capture_output=True, check=False)
    if checked.returncode:
        raise DrillError(f"rule set {name}: {checked.stderr.decode().strip().removeprefix('error: ')}")
    return yaml


def variant(yaml: bytes, engine: Engine | None, without_rule: str | None) -> bytes:
    """The same set in another engine, or without one rule; the author's exact bytes when neither is asked for.

    A set that has no such rule stays as it is: the rule to leave out may be only in one of a drill's two sets.
    """
    if engine is None and without_rule is None:
        return yaml
    tree = msgspec.yaml.decode(yaml)
    if engine is not None:
        tree["engine"] = engine.value
        for rule in tree["rules"]:
            rule.pop("engine", None)
    tree["rules"] = [rule for rule in tree["rules"] if rule["id"] != without_rule]
    return msgspec.yaml.encode(tree)
