"""The record: what is written is read, also when it was cut short."""

import gzip
from pathlib import Path

import pytest

from console.record import EVENTS, HEAD, SAMPLES, UnreadableRecord, read_head, read_lines
from contract.record import Event
from tests.fakes.outage import HEAD as OUTAGE
from tests.fakes.outage import outage, write


def test_what_is_written_is_read_in_order(tmp_path: Path) -> None:
    lines = outage()
    folder = write(tmp_path / "a" / "run", lines)
    assert read_head(folder) == OUTAGE
    read = read_lines(folder)
    assert len(read) == len(lines)
    assert [line.t for line in read] == sorted(line.t for line in lines)
    assert {type(line) for line in read} == {type(line) for line in lines}
    assert len((folder / EVENTS).read_bytes().splitlines()) == sum(isinstance(line, Event) for line in lines)


def test_a_last_line_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, outage())
    whole = read_lines(folder)
    content = (folder / SAMPLES).read_bytes()
    (folder / SAMPLES).write_bytes(content[:-20])
    assert len(read_lines(folder)) == len(whole) - 1


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, outage())
    rows = (folder / EVENTS).read_bytes().splitlines(keepends=True)
    rows[2] = b'{"type":"event","t":"soon"}\n'
    (folder / EVENTS).write_bytes(b"".join(rows))
    with pytest.raises(UnreadableRecord, match=r"events\.jsonl, line 3: .*\$\.t"):
        read_lines(folder)


def test_gzipped_files_are_read_too(tmp_path: Path) -> None:
    folder = write(tmp_path, outage())
    whole = read_lines(folder)
    (folder / (SAMPLES + ".gz")).write_bytes(gzip.compress((folder / SAMPLES).read_bytes()))
    (folder / SAMPLES).unlink()
    assert read_lines(folder) == whole


@pytest.mark.parametrize("missing", [HEAD, EVENTS, SAMPLES])
def test_another_folder_is_no_run(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path, outage())
    (folder / missing).unlink()
    with pytest.raises(UnreadableRecord, match=f"is not a recorded run: it has no {missing}"):
        read_head(folder), read_lines(folder)
