"""The run's record on disk: written line by line while the run happens, read back for a replay.

In: lines of `contract.record`. Out: `run.json`, `events.jsonl`, `samples.jsonl` in the run's folder, or the
same lines again in the order of their `t`. A record cut short (power, SIGKILL) is read up to the cut.
Either `.jsonl` file may be gzipped (`.jsonl.gz`) after the run.
"""

import gzip
from pathlib import Path
from typing import BinaryIO

import msgspec

from contract.record import Event, Line, RunHead, decode_line, encode_line

HEAD = "run.json"
EVENTS = "events.jsonl"
SAMPLES = "samples.jsonl"


class UnreadableRecord(Exception):
    """The folder is not a run's, or its files are broken; the message says which and where."""


class RecordWriter:
    """Appends lines: `append` buffers, `take` and `write` bring them to disk."""

    def __init__(self, folder: Path, head: RunHead) -> None:
        """Begins a record in `folder`, which is created. Raises OSError where it cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HEAD).write_bytes(msgspec.json.format(msgspec.json.encode(head)) + b"\n")
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in (EVENTS, SAMPLES)}
        self._waiting: dict[str, list[bytes]] = {EVENTS: [], SAMPLES: []}

    def append(self, line: Line) -> None:
        self._waiting[EVENTS if isinstance(line, Event) else SAMPLES].append(encode_line(line))

    def take(self) -> dict[str, bytes]:
        """What waits to be written, by file; on the thread that appends."""
        taken = {name: b"".join(line + b"\n" for line in lines) for name, lines in self._waiting.items() if lines}
        self._waiting = {name: [] for name in self._files}
        return taken

    def write(self, taken: dict[str, bytes]) -> None:
        """Blocks on the disk, so it may run in a thread."""
        for name, content in taken.items():
            self._files[name].write(content)
            self._files[name].flush()

    def close(self) -> None:
        self.write(self.take())
        for file in self._files.values():
            file.close()


def read_head(folder: Path) -> RunHead:
    """Raises UnreadableRecord."""
    try:
        return msgspec.json.decode((folder / HEAD).read_bytes(), type=RunHead)
    except FileNotFoundError:
        raise UnreadableRecord(f"{folder} is not a recorded run: it has no {HEAD}") from None
    except (OSError, msgspec.MsgspecError) as fault:
        raise UnreadableRecord(f"{folder / HEAD}: {fault}") from None


def read_lines(folder: Path) -> list[Line]:
    """All lines of the record, ordered by `t`; events before samples of the same moment.

    Raises UnreadableRecord, except for a last line cut short: what was being written then is not in the record.
    """
    lines = _read(folder, EVENTS) + _read(folder, SAMPLES)
    return sorted(lines, key=lambda line: line.t)


def _read(folder: Path, name: str) -> list[Line]:
    path = folder / name
    try:
        if path.exists():
            content = path.read_bytes()
        else:
            path = folder / (name + ".gz")
            content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise UnreadableRecord(f"{folder} is not a recorded run: it has no {name}") from None
    except (OSError, EOFError) as fault:
        raise UnreadableRecord(f"{path}: {fault}") from None
    return _decode(path, content.split(b"\n"))


def _decode(path: Path, rows: list[bytes]) -> list[Line]:
    lines: list[Line] = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            lines.append(decode_line(row))
        except msgspec.MsgspecError as fault:
            # A whole line ends with a newline, after which `split` leaves an empty row.
            if number == len(rows):
                break
            raise UnreadableRecord(f"{path}, line {number}: {fault}") from None
    return lines
