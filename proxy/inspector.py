"""An inspector: reads inspection frames from its socket, evaluates, answers. Blocking, one thing at a time.

It is the process that may burn. It has no event loop, no timer and no thread, because CPython's `re` would
starve them all for as long as one match lasts.
"""

import socket
import time

from proxy.frames import READY_ID, Code, InspectionFrame, pack_verdict, unpack_inspections
from proxy.slot import Slot
from rules.compile import CompiledRuleSet
from rules.evaluate import Inspectable, evaluate

_READ_BYTES = 256 * 1024


def inspect_forever(sock: socket.socket, slot: Slot, compiled: CompiledRuleSet) -> None:
    """Answer frames until the front closes the socket.

    Each verdict is sent before the next frame is evaluated: the next one may take a minute. A set without
    backtracking rules cannot, so its verdicts leave together, one write a read.
    """
    one_by_one = any(program.backtracking for program in compiled.programs)
    buffer = bytearray()
    sock.sendall(pack_verdict(READY_ID, Code.PASSED))
    while data := sock.recv(_READ_BYTES):
        buffer += data
        verdicts = []
        for frame in unpack_inspections(buffer):
            verdict = _judge(frame, slot, compiled)
            if one_by_one:
                sock.sendall(verdict)
            else:
                verdicts.append(verdict)
        if verdicts:
            sock.sendall(b"".join(verdicts))


def _judge(frame: InspectionFrame, slot: Slot, compiled: CompiledRuleSet) -> bytes:
    now = time.monotonic()
    if frame.deadline < now:
        return pack_verdict(frame.id, Code.EXPIRED)
    request = Inspectable.from_wire(frame.uri, frame.header_values, frame.body)
    findings = evaluate(compiled, request, lambda index: slot.write(index, time.monotonic()))
    slot.clear()
    code = Code.PASSED if findings.blocked_by is None else Code.BLOCKED
    return pack_verdict(frame.id, code, findings.hits)
