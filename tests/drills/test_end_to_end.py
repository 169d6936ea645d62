"""Whole drills as a person runs them: on a small fleet, to the end, and broken off at several moments."""

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from contract.record import TrafficLogLine
from tests.fakes.processes import left_over, marked, new_marker, with_marker

pytestmark = pytest.mark.slow

BADGATEWAY = str(Path(sys.executable).parent / "badgateway")
#: Three nodes, one control among them, a third of the traffic, and a short wall.
SMALL = [
    *("--set", "fleet=ams-1,iad-2,sjc-2"),
    *("--set", "traffic.rate_per_s=60"),
    *("--set", "rollout.guard.for_s=3"),
    *("--set", "timeline.warm_up_s=1"),
    *("--set", "timeline.before_s=11"),
    *("--set", "timeline.after_s=11"),
]


class Drill:
    """A running drill: its output line by line, its processes by marker."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.marker = new_marker()
        self.folder = folder
        self.output = ""
        self.process = subprocess.Popen(
            [BADGATEWAY, "drill", "cloudflare-2019", *words],
            cwd=folder,
            env=with_marker(self.marker),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def read_until(self, words: str, within_s: float) -> None:
        """Fails, with what was said instead, when the words do not come in time."""
        deadline = time.monotonic() + within_s
        while words not in self.output:
            assert time.monotonic() < deadline, f"no {words!r} within {within_s} s:\n{self.output}"
            assert not self._read(0.2) or words in self.output, f"ended without {words!r}:\n{self.output}"

    def finish(self, within_s: float) -> int:
        deadline = time.monotonic() + within_s
        while not self._read(0.2):
            assert time.monotonic() < deadline, f"not over within {within_s} s:\n{self.output}"
        return self.process.wait(timeout=10)

    def _read(self, patience_s: float) -> bool:
        """True at the end of the output."""
        assert self.process.stdout is not None
        if self._selector.select(patience_s):
            data = self.process.stdout.read()
            if data == b"":
                return True
            self.output += (data or b"").decode()
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._selector.close()


@pytest.fixture
def start(tmp_path: Path):  # type: ignore[no-untyped-def]
    drills: list[Drill] = []

    def start(*words: str) -> Drill:
        drills.append(Drill(tmp_path, *words))
        return drills[-1]

    yield start
    for drill in drills:
        drill.close()
        assert not left_over(drill.marker, within_s=5)


def test_the_outage_and_its_rollback(start) -> None:  # type: ignore[no-untyped-def]
    """The wall stands, the rule is named, the rollback ends it, every request is accounted for."""
    drill = start(*SMALL)
    code = drill.finish(within_s=120)
    assert not left_over(drill.marker, within_s=5)
    latest = drill.folder / "runs" / "cloudflare-2019" / "latest"
    report = msgspec.json.decode((latest / "report.json").read_bytes())
    # The figures of a small, busy machine are its own; what happened is not a matter of speed.
    assert code in (0, 1), drill.output
    assert report["verdict"] != "invalid", report["reasons"]
    assert report["bad_ratio"]["before"] == 0
    assert report["bad_ratio"]["peak"] > 0.5
    assert report["bad_ratio"]["after"] == 0
    assert report["wall"]["culprit_rule"] == "waf-xss-2019-07-02"
    assert report["timing_s"]["push_to_recovered"] > 3
    assert set(report["act_s_by_node"]) == {"ams-1", "iad-2", "sjc-2"}
    assert report["blast_radius"]["nodes"] == 3
    assert report["reconciliation"]["unexplained"] == 0
    assert report["requests"]["sent"] > 1000
    assert "Bad Gateway" in (latest / "report.html").read_text()
    lines = [
        msgspec.json.decode(line, type=TrafficLogLine)
        for line in (latest / "logs" / "traffic.jsonl").read_bytes().splitlines()
    ]
    assert (
        sum(line.outcome == "bad_gateway" and line.status == 502 for line in lines)
        == (report["requests"]["bad_gateway"])
    )
    assert "report:" in drill.output


def test_the_linear_engine_has_no_wall(start) -> None:  # type: ignore[no-untyped-def]
    drill = start(*SMALL, "--set", "engine=linear", "--set", "timeline.observe_s=11")
    code = drill.finish(within_s=120)
    report = msgspec.json.decode(
        (drill.folder / "runs" / "cloudflare-2019" / "latest" / "report.json").read_bytes()
    )
    assert code == 0, drill.output
    assert report["bad_ratio"]["after"] < 0.01
    assert (report["bad_ratio"]["peak"] or 0) < 0.01
    assert report["requests"]["bad_gateway"] == 0


@pytest.mark.parametrize("moment", ["live page", "starting 3 edge nodes", "nodes answer", "HEALTHY", "[502]"])
def test_one_interrupt_ends_everything(start, moment: str) -> None:  # type: ignore[no-untyped-def]
    drill = start(*SMALL, "--set", "timeline.before_s=1")
    drill.read_until(moment, within_s=60)
    drill.process.send_signal(signal.SIGINT)
    assert drill.finish(within_s=15) == 130
    assert not left_over(drill.marker, within_s=0)


def test_a_killed_runner_leaves_nothing(start) -> None:  # type: ignore[no-untyped-def]
    drill = start(*SMALL)
    drill.read_until("HEALTHY", within_s=60)
    assert (
        len(marked(drill.marker)) > 15
    )  # runner, console, origins, deployer, Locust, 3 x (front, forkserver, 2)
    drill.process.kill()
    assert not left_over(drill.marker, within_s=5)
