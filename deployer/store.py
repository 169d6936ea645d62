"""Everything that outlives the deployer, in one SQLite file: rule sets by digest, plan, rollouts, journal.

Journal first, then act: `commit` writes what was decided in one transaction and returns when it is on disk;
only then may an order leave. One deployer a store, held by a lock that dies with its process. Synchronous: the
driver calls it from one thread of its own.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from contract.messages import RuleSetRef, RuleSetText, StoredRuleSet
from contract.vocabulary import EventKind
from deployer.plan import Plan
from deployer.rollout import Rollout

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE rule_sets (version INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
                        rules INTEGER NOT NULL, yaml BLOB NOT NULL);
CREATE TABLE journal (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
                      text TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE rollouts (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
"""

#: What one answer carries at most; a reader asks again from the last `seq` it got.
MAX_ENTRIES = 1_000
MAX_ROLLOUTS = 100


class StoreFault(Exception):
    """The store cannot be used. One line, with what to do."""


class Entry(msgspec.Struct, frozen=True):
    """A journal entry before it has its number. `at`: wall-clock seconds."""

    at: float
    kind: EventKind
    text: str
    data: dict[str, Any]


class Kept(msgspec.Struct, frozen=True):
    """A journal entry as stored."""

    seq: int
    at: float
    kind: EventKind
    text: str
    data: dict[str, Any]


class Store:
    """Open with `Store.open(path)`; every method but that one belongs to one thread."""

    def __init__(self, path: Path, lock_fd: int, database: sqlite3.Connection) -> None:
        self.path = path
        self._lock_fd = lock_fd
        self._db = database

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Lock and open, creating what is missing. Raises StoreFault."""
        if not path.parent.is_dir():
            raise StoreFault(f"{path.parent} is no folder; create it, or give another --store")
        lock_fd = _lock(path)
        try:
            return cls(path, lock_fd, _open_database(path))
        except sqlite3.Error as fault:
            os.close(lock_fd)
            raise StoreFault(f"{path} cannot be used as a store ({fault}); give another --store") from None
        except BaseException:
            os.close(lock_fd)
            raise

    def close(self) -> None:
        self._db.close()
        os.close(self._lock_fd)

    # ---- Rule sets ----

    def put_rule_set(self, digest: str, name: str, rules: int, yaml: bytes) -> StoredRuleSet:
        """Store under the next version number; the same digest keeps the number that it has."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO rule_sets SELECT coalesce(max(version), 0) + 1, ?, ?, ?, ? FROM rule_sets"
                " WHERE true ON CONFLICT (digest) DO NOTHING",
                (digest, name, rules, yaml),
            )
        (version, name, rules) = self._db.execute(
            "SELECT version, name, rules FROM rule_sets WHERE digest = ?", (digest,)
        ).fetchone()
        return StoredRuleSet(RuleSetRef(digest, version), name, rules)

    def rule_sets(self) -> list[StoredRuleSet]:
        """All of them, oldest first."""
        rows = self._db.execute("SELECT digest, version, name, rules FROM rule_sets ORDER BY version")
        return [StoredRuleSet(RuleSetRef(digest, version), name, rules) for digest, version, name, rules in rows]

    def text(self, digest: str) -> RuleSetText | None:
        """A set's exact bytes; None if it is not stored."""
        row = self._db.execute("SELECT version, yaml FROM rule_sets WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else RuleSetText(RuleSetRef(digest, row[0]), row[1])

    # ---- Plan, rollouts, journal ----

    def plan(self) -> Plan:
        rows = self._db.execute("SELECT key, value FROM settings")
        return msgspec.convert({key: msgspec.json.decode(value) for key, value in rows}, Plan)

    def rollouts(self) -> list[Rollout]:
        """The latest ones, oldest of them first."""
        rows = self._db.execute(
            "SELECT record FROM rollouts ORDER BY id DESC LIMIT ?", (MAX_ROLLOUTS,)
        ).fetchall()
        return [msgspec.json.decode(record, type=Rollout) for (record,) in reversed(rows)]

    def commit(self, plan: Plan, rollouts: Iterable[Rollout], entries: Iterable[Entry]) -> None:
        """Write what was decided, all of it or nothing; on disk when this returns."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO settings VALUES (?, ?)",
                [(key, _json(value)) for key, value in msgspec.structs.asdict(plan).items()],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO rollouts VALUES (?, ?)",
                [(rollout.id, _json(rollout)) for rollout in rollouts],
            )
            self._db.executemany(
                "INSERT INTO journal (at, kind, text, data) VALUES (?, ?, ?, ?)",
                [(entry.at, entry.kind.value, entry.text, _json(entry.data)) for entry in entries],
            )

    def journal_after(self, seq: int) -> list[Kept]:
        """Entries above `seq`, oldest first, at most MAX_ENTRIES."""
        rows = self._db.execute(
            "SELECT seq, at, kind, text, data FROM journal WHERE seq > ? ORDER BY seq LIMIT ?", (seq, MAX_ENTRIES)
        )
        return [
            Kept(seq, at, EventKind(kind), text, msgspec.json.decode(data)) for seq, at, kind, text, data in rows
        ]

    def last_seq(self) -> int:
        (seq,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()
        return int(seq)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT; sqlite3's own context manager leaves BEGIN to chance."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _lock(path: Path) -> int:
    """Take the store's lock or raise StoreFault. The kernel drops it with the process, so it never goes stale;
    the file beside the store stays, because removing it would let two deployers lock two different files."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise StoreFault(f"{lock_path}: {fault.strerror}; give another --store") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StoreFault(
            f"{path} is in use by another deployer (pid {holder}); stop it, or give another --store"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise StoreFault(
                f"{path} has schema {version}, this deployer reads {SCHEMA_VERSION}; give another --store"
            )
    except BaseException:
        database.close()
        raise
    return database
