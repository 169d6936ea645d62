"""A run's folder: made, linked, found by name, and read back whole, whatever its logs look like."""

from pathlib import Path

import msgspec
import pytest

from drills.rundir import RunDir, RunNotFound, create_run_dir, find_run, link_latest
from drills.score import score
from tests.fakes.record import END, INTENDED, STARTED_AT, make_record, write_run

RECORD = make_record()


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run = write_run(tmp_path / "runs", RECORD)
    link_latest(run)
    return run


def test_what_was_written_is_what_is_read(run_dir: RunDir) -> None:
    loaded = run_dir.load()
    assert loaded.head == RECORD.head
    assert loaded.end == END
    assert loaded.events == RECORD.events
    assert loaded.samples == RECORD.samples
    assert loaded.traffic == RECORD.traffic
    assert sorted(line.request_id for line in loaded.access) == sorted(line.request_id for line in RECORD.access)
    assert loaded.origins == RECORD.origins
    assert (loaded.missing, loaded.unreadable) == ((), {})
    assert score(loaded) == score(RECORD)


def test_a_truncated_last_line_and_a_broken_one_are_counted_and_skipped(run_dir: RunDir) -> None:
    traffic = run_dir.logs / "traffic.jsonl"
    traffic.write_bytes(b'\xff not a line\n{"id": 3}\n\n' + traffic.read_bytes()[:-40])
    loaded = run_dir.load()
    assert loaded.unreadable == {"logs/traffic.jsonl": 3}
    assert len(loaded.traffic) == INTENDED - 1


def test_missing_files_are_named_and_the_rest_is_read(run_dir: RunDir) -> None:
    (run_dir.logs / "origins.jsonl").unlink()
    (run_dir.logs / "access-nrt-2.jsonl").unlink()
    loaded = run_dir.load()
    assert loaded.missing == ("logs/origins.jsonl", "logs/access-nrt-2.jsonl")
    assert len(loaded.traffic) == INTENDED


def test_logs_that_cover_more_than_the_run_are_cut_to_it(run_dir: RunDir) -> None:
    """An attached run reads the logs of a stack that was up before it and stays up after it."""
    first, last = RECORD.traffic[0], RECORD.traffic[-1]
    for line, due in ((first, STARTED_AT - 0.5), (last, STARTED_AT + END + 0.5)):
        alien = msgspec.structs.replace(line, id=f"alien-{due}", due=due, sent=due, done=due + 0.01)
        _append(run_dir.logs / "traffic.jsonl", alien)
        logged = msgspec.structs.replace(RECORD.access[0], client_id=alien.id, at=due + 0.01)
        _append(run_dir.logs / "access-ams-1.jsonl", logged)
    unheard = msgspec.structs.replace(RECORD.access[0], client_id="not-yet-logged", at=STARTED_AT + END + 0.4)
    _append(run_dir.logs / "access-ams-1.jsonl", unheard)
    long_ago = msgspec.structs.replace(RECORD.origins[0], client_id="long-ago", at=STARTED_AT - 3600)
    _append(run_dir.logs / "origins.jsonl", long_ago)
    assert score(run_dir.load()) == score(RECORD)


def _append(path: Path, line: object) -> None:
    with path.open("ab") as log:
        log.write(msgspec.json.encode(line) + b"\n")


def test_the_run_ends_with_its_last_word_when_nobody_said_so(run_dir: RunDir) -> None:
    lines = (run_dir.path / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run_dir.path / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    assert run_dir.load().end == 45.0  # the last sample
    assert run_dir.load(end=40.0).end == 40.0


def test_a_folder_without_a_head_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no run\.json"):
        RunDir(tmp_path).load()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunNotFound, match="cannot be read"):
        RunDir(tmp_path).head()


def test_a_stamp_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    names = [create_run_dir(tmp_path, "drill", "20260101").path.name for _ in range(3)]
    assert names == ["20260101", "20260101-2", "20260101-3"]
    assert (tmp_path / "drill" / "20260101-3" / "logs").is_dir()


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "/tmp", "latest", "a b", "x" * 101])
def test_only_plain_names_become_folders(tmp_path: Path, name: str) -> None:
    for drill, stamp in ((name, "stamp"), ("drill", name)):
        with pytest.raises(ValueError, match="cannot name"):
            create_run_dir(tmp_path, drill, stamp)
    assert list(tmp_path.iterdir()) == []


def test_latest_is_relative_and_moves_on(run_dir: RunDir) -> None:
    link = run_dir.path.parent / "latest"
    assert str(link.readlink()) == run_dir.path.name
    newer = create_run_dir(run_dir.path.parents[1], run_dir.path.parent.name, "20260101")
    link_latest(newer)
    assert str(link.readlink()) == "20260101"
    assert not [path for path in link.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "cloudflare-2019",
        "cloudflare-2019/latest",
        "cloudflare-2019/20231114T221320Z",
        "runs/cloudflare-2019/latest",
        "./runs/cloudflare-2019/20231114T221320Z",
    ],
)
def test_a_run_is_found_by(run_dir: RunDir, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = run_dir.path.parents[1]
    monkeypatch.chdir(root.parent)
    assert find_run(text, Path("runs")).path == run_dir.path.resolve()


def test_latest_means_the_newest_of_all_drills(run_dir: RunDir) -> None:
    root = run_dir.path.parents[1]
    newer = msgspec.structs.replace(RECORD.head, drill="another", stamp="1", started_at=STARTED_AT + 9)
    write_run(root, msgspec.structs.replace(RECORD, head=newer))
    assert find_run("latest", root).head().drill == "another"


def test_a_name_never_leads_out_of_the_runs(run_dir: RunDir) -> None:
    root = run_dir.path.parents[1]
    secret = root.parent / "elsewhere"
    secret.mkdir()
    (secret / "run.json").write_bytes((run_dir.path / "run.json").read_bytes())
    (root / "sly").symlink_to(secret)
    (root / "slyer").mkdir()
    (root / "slyer" / "latest").symlink_to(secret)
    for text in ("cloudflare-2019/../../elsewhere", "sly", "slyer", "slyer/latest"):
        with pytest.raises(RunNotFound):
            find_run(text, root)
    assert find_run(str(secret), root).path == secret.resolve()  # written as a path, it is meant


def test_an_unknown_run_names_the_nearest(run_dir: RunDir) -> None:
    with pytest.raises(RunNotFound, match="nearest: cloudflare-2019") as caught:
        find_run("cloudflair-2019", run_dir.path.parents[1])
    assert "cloudflare-2019" in caught.value.nearest
    with pytest.raises(RunNotFound, match="no run under"):
        find_run("latest", run_dir.path)
    with pytest.raises(RunNotFound, match="no run folder"):
        find_run("./nowhere", run_dir.path)
