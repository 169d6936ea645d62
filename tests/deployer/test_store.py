"""The store: versions by digest, one transaction for a decision, one deployer at a time."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contract.messages import Guard, RuleSetRef
from contract.vocabulary import EventKind, RolloutState, Strategy
from deployer.plan import Phase, Plan
from deployer.rollout import Rollout
from deployer.store import Entry, Store, StoreFault

V1 = RuleSetRef("a" * 64, 1)
ROLLOUT = Rollout(
    3, RolloutState.REVERTING, Strategy.EVERYWHERE, V1, V1, Guard(), "eve", 1.0, ("a",), refusals={"a": "no"}
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def test_the_same_digest_keeps_its_version(store: Store) -> None:
    first = store.put_rule_set("d1", "one", 3, b"x")
    second = store.put_rule_set("d2", "two", 4, b"y")
    again = store.put_rule_set("d1", "one", 3, b"x")
    assert (first.ref.version, second.ref.version) == (1, 2)
    assert again == first
    assert store.rule_sets() == [first, second]
    text = store.text("d2")
    assert text is not None
    assert (text.ref, text.yaml) == (second.ref, b"y")
    assert store.text("d3") is None


def test_an_empty_store_has_an_empty_plan(store: Store) -> None:
    assert store.plan() == Plan()
    assert store.rollouts() == []
    assert store.last_seq() == 0


def test_everything_comes_back_after_a_restart(path: Path) -> None:
    plan = Plan().assign(V1, Phase.ASSIGN).switch(True)
    store = Store.open(path)
    entries = [Entry(5.0 + n, EventKind.NOTE, f"entry {n}", {"n": n}) for n in range(3)]
    store.commit(plan, [ROLLOUT], entries)
    store.close()
    again = Store.open(path)
    try:
        assert again.plan() == plan
        assert again.rollouts() == [ROLLOUT]
        kept = again.journal_after(1)
        assert [(one.seq, one.at, one.text, one.data) for one in kept] == [
            (2, 6.0, "entry 1", {"n": 1}), (3, 7.0, "entry 2", {"n": 2}),
        ]  # fmt: skip
    finally:
        again.close()


def test_a_commit_is_all_or_nothing(store: Store) -> None:
    bad = Entry(1.0, EventKind.NOTE, "fine", {})
    worse = msgspec.structs.replace(bad, text=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.commit(Plan().assign(V1, Phase.ASSIGN), [ROLLOUT], [bad, worse])
    assert (store.plan(), store.rollouts(), store.last_seq()) == (Plan(), [], 0)
    store.commit(Plan(), [], [bad])
    assert store.last_seq() == 1


def test_what_is_committed_is_synced(store: Store) -> None:
    (mode,) = store._db.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = store._db.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)


def test_a_second_deployer_is_refused_by_pid(store: Store, path: Path) -> None:
    with pytest.raises(StoreFault, match=rf"in use by another deployer \(pid {os.getpid()}\)"):
        Store.open(path)


def test_the_lock_dies_with_its_process(path: Path) -> None:
    """A killed deployer leaves the lock file, and the file holds nobody up."""
    code = (
        "import os, pathlib, sys; from deployer.store import Store;"
        "Store.open(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert path.with_name(path.name + ".lock").exists()
    Store.open(path).close()


def test_files_that_are_no_store_are_refused(tmp_path: Path) -> None:
    junk = tmp_path / "junk.sqlite3"
    junk.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreFault, match="give another --store"):
        Store.open(junk)
    with pytest.raises(StoreFault, match="is no folder"):
        Store.open(tmp_path / "missing" / "s.sqlite3")
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(StoreFault, match="schema 9"):
        Store.open(newer)
    Store.open(tmp_path / "fresh.sqlite3").close()


def test_the_lock_file_is_private(store: Store, path: Path) -> None:
    mode = path.with_name(path.name + ".lock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
