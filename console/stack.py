"""Memory and CPU of everything that a run is made of, read from the process table.

In: the pid of the run's root. Out: a `StackSample` by role. Memory is PSS, so that pages shared by a fork count
once; where it may not be read, RSS, which counts them in every process.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from console.processes import role_of
from console.run import Run
from contract.record import StackSample

MIB = 1024 * 1024


class StackWatch:
    """Measures in a thread: some forty files of /proc are read each time."""

    def __init__(self, run: Run, root_pid: int, inspectors: Callable[[], set[int]]) -> None:
        self._run = run
        self._root_pid = root_pid
        self._inspectors = inspectors
        self._seen: dict[tuple[int, float], float] = {}
        self._at: float | None = None

    async def measure(self) -> None:
        inspectors = self._inspectors()
        found = await asyncio.to_thread(self._read, inspectors)
        if found is not None:
            self._run.add(found)

    def _read(self, inspectors: set[int]) -> StackSample | None:
        try:
            root = psutil.Process(self._root_pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return None
        now = time.monotonic()
        elapsed_s = now - self._at if self._at is not None else 0.0
        self._at = now
        roles = self._roles(processes, inspectors)
        pss: dict[str, float] = {}
        cpu: dict[str, float] = {}
        seen: dict[tuple[int, float], float] = {}
        for process in processes:
            try:
                role, born, times = roles[process.pid], process.create_time(), process.cpu_times()
                pss[role] = pss.get(role, 0.0) + _pss_bytes(process) / MIB
            except (psutil.Error, KeyError):
                continue  # it ended while it was being looked at
            seen[process.pid, born] = total = times.user + times.system
            if elapsed_s > 0:
                used = max(total - self._seen.get((process.pid, born), 0.0), 0.0)
                cpu[role] = cpu.get(role, 0.0) + used / elapsed_s
        self._seen = seen
        return StackSample(
            t=round(self._run.now_t(), 3),
            pss_mib=round(sum(pss.values()), 2),
            pss_mib_by_role={role: round(value, 2) for role, value in pss.items()},
            cpu_cores_by_role={role: round(value, 4) for role, value in cpu.items()},
        )

    def _roles(self, processes: list[psutil.Process], inspectors: set[int]) -> dict[int, str]:
        """By pid; parents stand before their children in `processes`."""
        roles: dict[int, str] = {}
        for process in processes:
            try:
                parent = roles.get(process.ppid(), "")
                is_root = process.pid == self._root_pid
                roles[process.pid] = role_of(process.cmdline(), parent, process.pid in inspectors, is_root)
            except psutil.Error:
                continue
        return roles


def _pss_bytes(process: psutil.Process) -> float:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # another user's process, or a kernel without it
    return float(process.memory_info().rss)
