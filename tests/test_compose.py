"""The stack in containers, by the project's own compose file: up healthy, one drill, down clean.

Runs when a Docker engine answers, or when COMPOSE_ENGINE names a script that makes one and prints the exports
to reach it. Where there is neither, it is named as not run.
"""

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contract.record import View
from contract.vocabulary import StatusWord

pytestmark = [pytest.mark.compose, pytest.mark.slow]

ROOT = Path(__file__).parent.parent
#: An empty host port lets the engine choose a free one.
ANY_PORTS = {f"BADGATEWAY_{name}_PORT": "" for name in ("EDGE", "DEPLOYER", "CONSOLE")}


class Compose:
    """`docker compose` for one project name, with the environment that reaches the engine."""

    def __init__(self, environment: dict[str, str], project: str) -> None:
        self._environment = environment
        self.project = project

    def __call__(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return self.docker("compose", "-p", self.project, *words, timeout_s=timeout_s)

    def docker(self, *words: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )


@pytest.fixture(scope="module")
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` reaches an engine. An engine that was started here is ended here."""
    environment = {**os.environ, **ANY_PORTS}
    script = os.environ.get("COMPOSE_ENGINE")
    started: int | None = None
    if script:
        made = subprocess.run(
            shlex.split(script), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600
        )
        if made.returncode:
            pytest.skip(f"not run: COMPOSE_ENGINE ended with {made.returncode}: {made.stderr.strip()[-200:]}")
        for line in re.findall(r"^export (.*)$", made.stdout, re.MULTILINE):
            environment.update(pair.split("=", 1) for pair in shlex.split(line))
        pid = re.search(r"dockerd started, id (\d+)", made.stderr)
        started = int(pid[1]) if pid else None
    try:
        answer = subprocess.run(
            ["docker", "compose", "ls"], env=environment, capture_output=True, text=True, timeout=30
        )
    except FileNotFoundError:
        pytest.skip("not run: no docker command")
    if answer.returncode:
        pytest.skip(f"not run: no Docker engine with compose answers: {answer.stderr.strip()[:200]}")
    yield environment
    if started is not None:
        os.kill(started, signal.SIGTERM)


@pytest.fixture(scope="module")
def compose(engine: dict[str, str]) -> Iterator[Compose]:
    compose = Compose(engine, f"badgateway-test-{secrets.token_hex(4)}")
    built = compose("build", "origins", timeout_s=600)
    assert built.returncode == 0, built.stderr[-2000:]
    up = compose("up", "-d", "--wait", timeout_s=180)
    try:
        assert up.returncode == 0, up.stderr[-2000:] + compose("logs", "--tail", "20").stdout[-3000:]
        yield compose
    finally:
        compose("down", "-v", "--timeout", "5")


def fetch(compose: Compose, service: str, port: str, path: str) -> bytes:
    """By way of the published port, as a person's browser would."""
    address = compose("port", service, port).stdout.strip()
    assert address.startswith("127.0.0.1:"), "published to this machine alone"
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-H", "Host: news.example", f"http://{address}{path}"],
        capture_output=True,
        timeout=10,
    )
    return done.stdout


def test_up_is_healthy_and_unprivileged(compose: Compose) -> None:
    services = [json.loads(line) for line in compose("ps", "--format", "json").stdout.splitlines()]
    assert len(services) == 12
    assert not [service["Name"] for service in services if service["Health"] not in ("healthy", "")]
    assert compose("exec", "-T", "ams-1", "id", "-u").stdout.strip() == "10001"
    assert b"<html" in fetch(compose, "ams-1", "8080", "/").lower()
    view = msgspec.json.decode(fetch(compose, "console", "8090", "/api/v1/view"), type=View)
    assert view.status in (StatusWord.HEALTHY, StatusWord.STARTING)
    assert len(view.tiles) == 8


def test_one_drill_in_containers(compose: Compose) -> None:
    done = compose("run", "--rm", "-T", "drill", "cloudflare-2019", timeout_s=200)
    raw = compose("exec", "-T", "console", "cat", "/runs/cloudflare-2019/latest/report.json").stdout
    report = json.loads(raw)
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    assert report["verdict"] != "invalid", report["reasons"]
    assert report["bad_ratio"]["before"] < 0.001
    assert report["bad_ratio"]["peak"] > 0.5
    assert report["bad_ratio"]["after"] < 0.001
    assert report["timing_s"]["act"] is not None
    assert len(report["act_s_by_node"]) == 8
    # The promise of docs/report.md; whatever is left is shown with its ids.
    assert report["reconciliation"]["ratio"] <= 0.001, report["reconciliation"]
    assert report["wall"]["culprit_rule"] == "waf-xss-2019-07-02"


def test_down_leaves_nothing(compose: Compose) -> None:
    down = compose("down", "-v", "--timeout", "5")
    assert down.returncode == 0, down.stderr
    ours = f"label=com.docker.compose.project={compose.project}"
    for kind, words in {
        "containers": ["ps", "-aq"],
        "volumes": ["volume", "ls", "-q"],
        "networks": ["network", "ls", "-q"],
    }.items():
        assert compose.docker(*words, "--filter", ours).stdout == "", kind
