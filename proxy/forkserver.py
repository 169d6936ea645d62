"""The forkserver: compiles rule sets once, then forks inspectors that already hold them.

Forked from the front before that has an event loop or threads, and warm: it has imported everything that an
inspector needs. A child shares the compiled set with it, so that going back to a set that was compiled before
costs one fork. It does what its socket says and nothing else. Every process made here dies with its parent.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
from dataclasses import dataclass

import msgspec

from contract.vocabulary import RefusalReason
from proxy.inspector import inspect_forever
from proxy.slot import Slot
from rules.compile import CompiledRuleSet, compile_rule_set
from rules.model import RuleSetError
from rules.parse import parse

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_MESSAGE_BYTES = 64 * 1024

#: Inspectors give way to the front, which has to answer 502 in time while they burn.
INSPECTOR_NICE = 10


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Compile the set in the attached memfd (its exact YAML bytes) and keep it under `digest`, which the front
    has verified."""

    digest: str


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork an inspector with a loaded set; attached: its socket end and its slot."""

    token: int
    digest: str


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Forget every set that is not in `keep`."""

    keep: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """`rules`: ids in index order."""

    digest: str
    rules: tuple[str, ...]


class LoadRefused(msgspec.Struct, frozen=True, tag="load_refused"):
    digest: str
    reason: RefusalReason
    detail: str


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """Attached: the child's pidfd."""

    token: int
    pid: int


Request = Load | Fork | Drop
Reply = Loaded | LoadRefused | Forked
encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


@dataclass(frozen=True)
class ForkserverHandle:
    """The front's end: a SOCK_SEQPACKET socket, one message a packet."""

    pid: int
    sock: socket.socket


def start_forkserver() -> ForkserverHandle:
    """Fork it. Call once, before threads and event loops exist."""
    front_end, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    front_pid = os.getpid()
    pid = os.fork()
    if pid:
        server_end.close()
        return ForkserverHandle(pid, front_end)
    try:
        _close_all_but(server_end.fileno())
        die_with_parent(front_pid)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the inspectors; pidfds stay valid
        gc.freeze()  # what is shared with the children stays shared
        _serve(server_end)
    finally:
        os._exit(0)


def _close_all_but(fd: int) -> None:
    """Whoever waits for the end of a pipe that the front was given must not wait for its inspectors."""
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel KILL this process when its parent dies; leave at once if it is dead already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def _serve(sock: socket.socket) -> None:
    sets: dict[str, CompiledRuleSet] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(sock, _MESSAGE_BYTES, 2)
        if not data:
            return
        match decode_request(data):
            case Load(digest):
                sock.send(encode(_load(sets, digest, fds[0])))
            case Fork(token, digest):
                pid, pidfd = _fork(sock, sets[digest], *fds)
                socket.send_fds(sock, [encode(Forked(token, pid))], [pidfd])
                os.close(pidfd)
            case Drop(keep):
                sets = {digest: compiled for digest, compiled in sets.items() if digest in keep}
        for fd in fds:
            os.close(fd)


def _load(sets: dict[str, CompiledRuleSet], digest: str, fd: int) -> Loaded | LoadRefused:
    if digest not in sets:
        yaml = os.pread(fd, os.fstat(fd).st_size, 0)
        try:
            rule_set = parse(yaml)
        except RuleSetError as fault:
            return LoadRefused(digest, RefusalReason.PARSE, str(fault))
        try:
            sets[digest] = compile_rule_set(rule_set)
        except RuleSetError as fault:
            return LoadRefused(digest, RefusalReason.COMPILE, str(fault))
        gc.freeze()
    return Loaded(digest, tuple(rule.id for rule in sets[digest].rules))


def _fork(server: socket.socket, compiled: CompiledRuleSet, sock_fd: int, slot_fd: int) -> tuple[int, int]:
    """Returns the child's pid and a pidfd of it, opened before anything could have reaped it."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid, os.pidfd_open(pid)
    try:
        die_with_parent(parent)
        server.close()
        os.nice(INSPECTOR_NICE)
        inspect_forever(socket.socket(fileno=sock_fd), Slot(slot_fd), compiled)
    except (ConnectionError, BrokenPipeError):
        pass  # the front let go of this inspector
    except BaseException as fault:
        print(f"inspector {os.getpid()}: {fault!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(0)
