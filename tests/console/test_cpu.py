"""CPU of inspectors from outside, through generations, restarts and other PID namespaces."""

import subprocess
import sys

import pytest

from console.cpu import FROM_NODE, FROM_OUTSIDE, InspectorCpu, ProcessTable, Times
from contract.messages import InspectorStatus, Report
from contract.vocabulary import Pool
from tests.fakes.edge import report


class Table:
    """A process table: pid → (born, CPU seconds)."""

    def __init__(self) -> None:
        self.processes: dict[int, Times] = {}

    def __call__(self, pid: int) -> Times | None:
        return self.processes.get(pid)


def inspectors(primary: int, standby: int) -> tuple[InspectorStatus, ...]:
    return tuple(
        InspectorStatus(pid, pool, 1, 0.0, 0, 0, True)
        for pid, pool in ((primary, Pool.PRIMARY), (standby, Pool.STANDBY))
    )


def reading(primary: int = 10, standby: int = 11, **changed: float) -> Report:
    return report(inspectors=inspectors(primary, standby), cpu_quota=0.2, **changed)  # type: ignore[arg-type]


def test_share_of_the_quota_by_pool() -> None:
    table = Table()
    cpu = InspectorCpu(table)
    table.processes = {10: Times(1.0, 5.0), 11: Times(1.0, 3.0)}
    assert cpu.update(100.0, reading()).total is None  # nothing to compare with
    table.processes = {10: Times(1.0, 5.03), 11: Times(1.0, 3.02)}
    share = cpu.update(100.5, reading())
    assert share.source == FROM_OUTSIDE
    assert share.total == pytest.approx(0.5)
    assert share.by_pool == {Pool.PRIMARY: pytest.approx(0.3), Pool.STANDBY: pytest.approx(0.2)}


def test_a_new_generation_counts_from_its_birth_and_the_old_one_up_to_when_it_was_last_seen() -> None:
    table = Table()
    cpu = InspectorCpu(table)
    table.processes = {10: Times(1.0, 5.0), 11: Times(1.0, 3.0)}
    cpu.update(100.0, reading())
    table.processes = {20: Times(100.1, 0.04), 21: Times(100.1, 0.01)}
    assert cpu.update(100.5, reading(20, 21)).total == pytest.approx(0.5)


def test_a_pid_used_again_is_another_process() -> None:
    table = Table()
    cpu = InspectorCpu(table)
    table.processes = {10: Times(1.0, 5.0), 11: Times(1.0, 3.0)}
    cpu.update(100.0, reading())
    table.processes = {10: Times(100.2, 0.05), 11: Times(1.0, 3.0)}
    assert cpu.update(100.5, reading()).total == pytest.approx(0.5)


def test_where_pids_cannot_be_read_the_nodes_own_figure_is_used_and_named_so() -> None:
    cpu = InspectorCpu(Table())
    first = cpu.update(100.0, reading(inspector_cpu_s=7.0, uptime_s=50.0))
    assert (first.total, first.source) == (None, FROM_NODE)
    share = cpu.update(100.5, reading(inspector_cpu_s=7.05, uptime_s=50.5))
    assert (share.total, share.by_pool, share.source) == (pytest.approx(0.5), {}, FROM_NODE)
    restarted = cpu.update(101.0, reading(inspector_cpu_s=0.02, uptime_s=0.3))
    assert restarted.total == pytest.approx(0.2)


def test_only_processes_of_a_node_are_read() -> None:
    wait = "import sys; print('up', flush=True); sys.stdin.read()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", wait, "-m", "proxy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as node,
        subprocess.Popen(
            [sys.executable, "-c", wait, "-m", "other"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other,
    ):
        assert node.stdout is not None
        assert other.stdout is not None
        node.stdout.readline()
        other.stdout.readline()
        table = ProcessTable()
        times = table(node.pid)
        assert times is not None
        assert times.cpu_s >= 0  # counted in hundredths of a second
        assert table(other.pid) is None
        node.communicate()
        other.communicate()
    assert table(node.pid) is None  # it is gone
