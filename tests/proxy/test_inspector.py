"""The inspector's loop in a thread: verdicts on the wire, the culprit in the slot, expired frames skipped."""

import socket
import threading
import time

import pytest

from proxy.frames import READY_ID, Code, VerdictFrame, pack_inspection, unpack_verdicts
from proxy.inspector import inspect_forever
from proxy.slot import Slot
from rules.compile import compile_rule_set
from rules.parse import parse

RULES = b"""
name: small
engine: %b
rules:
  - {id: log-1, pattern: 'l[o0]g', targets: [uri, body], action: log}
  - {id: block-1, pattern: 'ev[i1]l', targets: [headers, body]}
"""


class Running:
    """An inspector, and the front's ends of its socket and slot."""

    def __init__(self, engine):
        compiled = compile_rule_set(parse(RULES % engine))
        self.sock, inspectors_end = socket.socketpair()
        self.sock.settimeout(5)
        self.slot = Slot.create()
        self.thread = threading.Thread(target=self._run, args=(inspectors_end, compiled))
        self.thread.start()
        self.buffer = bytearray()

    def _run(self, sock, compiled):
        with sock:
            inspect_forever(sock, self.slot, compiled)

    def send(self, id, uri=b"/", headers=b"", body=b"", deadline_s=5.0):
        self.sock.sendall(pack_inspection(id, time.monotonic() + deadline_s, uri, headers, body))

    def verdicts(self, count):
        got = []
        while len(got) < count:
            data = self.sock.recv(65536)
            assert data, f"only {got}"
            self.buffer += data
            got += unpack_verdicts(self.buffer)
        return got


@pytest.fixture(params=[b"backtracking", b"linear"])
def inspector(request):
    running = Running(request.param)
    yield running
    running.sock.close()
    running.thread.join(5)
    assert not running.thread.is_alive(), "it ends when its front lets go"
    running.slot.close()


def test_it_says_that_it_is_ready_and_then_judges_in_order(inspector):
    assert inspector.verdicts(1) == [VerdictFrame(READY_ID, Code.PASSED, ())]
    inspector.send(1)
    inspector.send(2, uri=b"/log", headers=b"a\nb")
    inspector.send(3, uri=b"/log", headers=b"x\nevil", body=b"log")
    inspector.send(4, body="é evil".encode() + b"\xff")
    assert inspector.verdicts(4) == [
        VerdictFrame(1, Code.PASSED, ()),
        VerdictFrame(2, Code.PASSED, (0,)),
        VerdictFrame(3, Code.BLOCKED, (0, 1)),
        VerdictFrame(4, Code.BLOCKED, (1,)),
    ]
    assert inspector.slot.read() is None


def test_what_is_too_late_is_not_evaluated(inspector):
    inspector.send(1, headers=b"evil", deadline_s=-0.001)
    inspector.send(2)
    assert inspector.verdicts(3)[1:] == [VerdictFrame(1, Code.EXPIRED, ()), VerdictFrame(2, Code.PASSED, ())]


def test_a_slot_is_one_page_for_two_processes():
    ours = Slot.create()
    theirs = Slot(ours.fd)
    assert ours.read() is None
    theirs.write(0, 7.5)
    assert ours.read() == (0, 7.5)
    theirs.write(0xFFFF, 8.0)
    assert ours.read() == (0xFFFF, 8.0)
    theirs.clear()
    assert ours.read() is None
    ours.close()
