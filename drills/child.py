"""One process that a drill starts: ready when it says so, dead when the drill is, ended when it is told.

`start` returns only when the process has announced itself on its ready descriptor; `stop` ends it and all it
started, and says so if it had already died.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contract.messages import Ready

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_READ_BYTES = 64 * 1024


class ChildFailed(Exception):
    """A process that did not start or did not stay; the message is one line, with its own last words."""


class Child:
    """`name` also names its log file. Start children from the main thread: their death signal follows it."""

    def __init__(self, name: str, logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.ready: Ready | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(
        self, arguments: list[str], timeout_s: float, env: Mapping[str, str] | None = None, ready_by_env: str = ""
    ) -> Ready:
        """Run `python ARGUMENTS`; give it the ready descriptor as `--ready-fd`, or in the variable
        `ready_by_env`. Raises ChildFailed."""
        read_fd, write_fd = os.pipe()
        environment = {**os.environ, **(env or {}), "PYTHONUNBUFFERED": "1"}
        if ready_by_env:
            environment[ready_by_env] = str(write_fd)
        else:
            arguments = [*arguments, "--ready-fd", str(write_fd)]
        try:
            self._process = self._spawn(arguments, environment, write_fd)
        finally:
            os.close(write_fd)
        try:
            line = await asyncio.wait_for(_read_line(read_fd), timeout_s)
        except TimeoutError:
            raise ChildFailed(f"{self.name} was not ready within {timeout_s:g} s; see {self.log}") from None
        finally:
            os.close(read_fd)
        if not line:
            raise ChildFailed(f"{self.name} ended before it was ready: {self.last_words()}")
        self.ready = msgspec.json.decode(line, type=Ready)
        return self.ready

    def _spawn(self, arguments: list[str], environment: dict[str, str], ready_fd: int) -> subprocess.Popen[bytes]:
        parent = os.getpid()

        def die_with_parent() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(ready_fd,),
                process_group=0,  # a Ctrl-C at the terminal is for the runner, which ends the rest in order
                preexec_fn=die_with_parent,
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """The last line of its log, without a leading `error:`."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].removeprefix("error: ")
        return f"it said nothing; see {self.log}"

    def terminate(self) -> None:
        """Ask it to end; CONT first, for one that was stopped takes no TERM."""
        if self._process is not None and self._process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, number)

    async def gone(self, deadline: float) -> bool:
        """Wait until it has ended, or `deadline` (monotonic) passes."""
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def kill(self) -> None:
        """End it and whatever it started, unasked."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


async def _read_line(fd: int) -> bytes:
    """Up to LF, or what there was before the end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    os.set_blocking(fd, False)
    loop.add_reader(fd, readable.set)
    data = b""
    try:
        while not data.endswith(b"\n"):
            await readable.wait()
            readable.clear()
            with contextlib.suppress(BlockingIOError):
                more = os.read(fd, _READ_BYTES)
                if not more:
                    return b""
                data += more
    finally:
        loop.remove_reader(fd)
    return data


async def stop_all(children: list[Child], patience_s: float = 3.0) -> list[str]:
    """End them together: ask, wait, then kill. Returns the names of those that had to be killed."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + patience_s
    killed = [child.name for child in children if not await child.gone(deadline)]
    for child in children:
        child.kill()
    return killed
