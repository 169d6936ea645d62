"""What a node remembers over a restart: its last known good rule set, the highest epoch, a local kill switch.

Written before an assignment is confirmed, to a new file that replaces the old one whole. A file that cannot be
read or does not verify is set aside and said so; the node then starts with nothing and asks its deployer.
"""

import os
from pathlib import Path

import msgspec

from contract.messages import RuleSetText
from rules.parse import digest_of


class NodeMemory(msgspec.Struct, frozen=True):
    epoch: int = 0
    last_known_good: RuleSetText | None = None
    kill_switch: bool = False
    kill_switch_local: bool = False


class NodeState:
    """`state_dir` None: remembers nothing, as for a node alone on the command line."""

    def __init__(self, name: str, state_dir: str | None) -> None:
        self._path = Path(state_dir) / f"{name}.state" if state_dir else None

    def load(self) -> tuple[NodeMemory, str | None]:
        """(memory, a sentence if a file had to be set aside)."""
        if self._path is None or not self._path.exists():
            return NodeMemory(), None
        try:
            memory = msgspec.msgpack.decode(self._path.read_bytes(), type=NodeMemory)
            good = memory.last_known_good
            if good is not None and digest_of(good.yaml) != good.ref.digest:
                raise msgspec.DecodeError("its rule set has another digest")
        except msgspec.DecodeError as fault:
            aside = self._path.with_suffix(".unreadable")
            self._path.replace(aside)
            return NodeMemory(), f"{self._path} set aside as {aside.name}: {fault}"
        except OSError as fault:
            return NodeMemory(), f"{self._path} cannot be read: {fault.strerror}"
        return memory, None

    def save(self, memory: NodeMemory) -> None:
        """Raises OSError, and then the old file stands."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb") as file:
            file.write(msgspec.msgpack.encode(memory))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
