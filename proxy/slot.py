"""The shared-memory slot of one inspector: which rule it is evaluating, and since when.

The inspector writes before each search; the front reads while the search still runs, which is how the culprit
is named although its process is deaf. One writer, one reader, a torn read costs one wrong sample.
"""

import mmap
import os
import struct

_SLOT = struct.Struct("<Id")  # rule index + 1 (0: idle), CLOCK_MONOTONIC seconds
SLOT_BYTES = mmap.PAGESIZE


class Slot:
    """A mapped slot. `fd` may be sent to another process, which maps the same page."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, SLOT_BYTES)

    @classmethod
    def create(cls) -> "Slot":
        fd = os.memfd_create("badgateway-slot")
        os.ftruncate(fd, SLOT_BYTES)
        return cls(fd)

    def write(self, rule_index: int, now: float) -> None:
        _SLOT.pack_into(self._map, 0, rule_index + 1, now)

    def clear(self) -> None:
        _SLOT.pack_into(self._map, 0, 0, 0.0)

    def read(self) -> tuple[int, float] | None:
        """(rule index, since when), or None while nothing is evaluated."""
        index, since = _SLOT.unpack_from(self._map, 0)
        return (index - 1, since) if index else None

    def close(self) -> None:
        self._map.close()
        os.close(self.fd)
