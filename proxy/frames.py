"""The frames between a front and its inspectors: a request's inspected parts down, a verdict up.

Down: header, URI, header values joined by LF (which no header value can hold), body. Up: id, code, hits.
Little-endian; both ends are one checkout on one machine.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

_DOWN = struct.Struct("<IQdIII")  # length of what follows, id, deadline, lengths of URI, headers, body
_UP = struct.Struct("<QBB")  # id, code, number of hits
_LENGTH = struct.Struct("<I")
_HITS = tuple(struct.Struct(f"<{count}H") for count in range(256))

#: The id of the inspector's first frame: it holds its rule set and reads.
READY_ID = 0


class Code(IntEnum):
    """An inspector's answer."""

    PASSED = 0
    BLOCKED = 1
    EXPIRED = 2  # not evaluated: the deadline had passed when it was read


@dataclass(frozen=True, slots=True)
class InspectionFrame:
    """One request to inspect. `deadline`: CLOCK_MONOTONIC seconds, which all processes share."""

    id: int
    deadline: float
    uri: bytes
    header_values: list[bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class VerdictFrame:
    """One answer. `hits`: indices of the rules that matched; the last one blocked, if BLOCKED."""

    id: int
    code: int
    hits: tuple[int, ...]


def pack_inspection(id: int, deadline: float, uri: bytes, headers: bytes, body: bytes) -> bytes:
    """`headers`: the values joined by LF."""
    length = _DOWN.size - 4 + len(uri) + len(headers) + len(body)
    return b"".join((_DOWN.pack(length, id, deadline, len(uri), len(headers), len(body)), uri, headers, body))


def unpack_inspections(buffer: bytearray) -> list[InspectionFrame]:
    """Take every whole frame off the front of `buffer`."""
    frames = []
    offset, available = 0, len(buffer)
    while available - offset >= _DOWN.size:
        length, id, deadline, uri_len, headers_len, body_len = _DOWN.unpack_from(buffer, offset)
        end = offset + 4 + length
        if end > available:
            break
        uri_at = offset + _DOWN.size
        headers_at, body_at = uri_at + uri_len, uri_at + uri_len + headers_len
        frames.append(
            InspectionFrame(
                id,
                deadline,
                bytes(buffer[uri_at:headers_at]),
                bytes(buffer[headers_at:body_at]).split(b"\n") if headers_len else [],
                bytes(buffer[body_at : body_at + body_len]),
            )
        )
        offset = end
    del buffer[:offset]
    return frames


def pack_verdict(id: int, code: Code, hits: tuple[int, ...] = ()) -> bytes:
    """At most 255 hits are named; a request that matches more is no likelier to be understood."""
    hits = hits[-255:]
    return _UP.pack(id, code, len(hits)) + _HITS[len(hits)].pack(*hits)


def unpack_verdicts(buffer: bytearray) -> list[VerdictFrame]:
    """Take every whole frame off the front of `buffer`."""
    frames = []
    offset, available = 0, len(buffer)
    while available - offset >= _UP.size:
        id, code, count = _UP.unpack_from(buffer, offset)
        end = offset + _UP.size + 2 * count
        if end > available:
            break
        frames.append(VerdictFrame(id, code, _HITS[count].unpack_from(buffer, offset + _UP.size)))
        offset = end
    del buffer[:offset]
    return frames
