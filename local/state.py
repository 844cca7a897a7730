"""What survives a restart: one folder with a SQLite file and one file per stored object version.

    <folder>/state.sqlite   objects' index, queue messages, table items, parameters
    <folder>/objects/ab/…   bodies, each written once and never changed

A change is committed before the client that asked for it hears of it, so killing the process at any
moment loses nothing that was acknowledged. (Power loss is another matter: nothing here waits for
the disk itself.) A body is complete before the row that names it exists; bodies without a row are
what a killed process left half-written, and go at the next start.
"""

import contextlib
import fcntl
import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from local.errors import StateError, StateInUseError

SCHEMA_VERSION = 1
# A version's sequencer counts microseconds, and is drawn shortly after the version's time was.
SEQUENCER_MARGIN = 60 * 1_000_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    about TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS versions_of_key ON versions (bucket, key);
CREATE TABLE IF NOT EXISTS messages (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (kind, owner, id)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class StoredVersion:
    """One version of an object, or a delete marker. `about` is JSON of `local.object_model`."""

    id: str
    bucket: str
    key: str
    about: dict[str, Any]


@dataclass(frozen=True)
class StoredMessage:
    """One queue message that was not deleted."""

    id: str
    queue: str
    content: dict[str, Any]


class StateStore:
    """The state folder of one running cloud. Safe to call from any thread.

    Raises StateError when another process has the folder, or when it is of a newer format.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._bodies = folder / "objects"
        self._lock = threading.RLock()
        self._folder_lock = _lock_folder(folder)
        try:
            self._database = _open_database(folder / "state.sqlite")
        except BaseException:
            self._folder_lock.close()
            raise
        self._remove_unnamed_bodies()

    def close(self) -> None:
        """Let go of the folder. Later calls fail."""
        with self._lock:
            self._database.close()
            self._folder_lock.close()

    # objects

    def new_body(self) -> tuple[str, Path]:
        """A fresh id and the path where its body is to be written, before `replace_versions`."""
        body_id = uuid.uuid4().hex
        path = self.body_path(body_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        return body_id, path

    def body_path(self, body_id: str) -> Path:
        """Where the body of a version lies."""
        return self._bodies / body_id[:2] / body_id

    def replace_versions(self, bucket: str, key: str, versions: Sequence[StoredVersion]) -> None:
        """Make `versions`, oldest first, all that is stored of a key."""
        with self._transaction():
            rows = self._database.execute(
                "SELECT id, about FROM versions WHERE bucket = ? AND key = ?", (bucket, key)
            )
            stored: dict[str, str] = dict(rows.fetchall())
            for version in versions:
                about = json.dumps(version.about)
                if stored.pop(version.id, None) != about:
                    self._database.execute(
                        "INSERT INTO versions (id, bucket, key, about) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (id) DO UPDATE SET about = excluded.about",
                        (version.id, bucket, key, about),
                    )
            self._database.executemany(
                "DELETE FROM versions WHERE id = ?", [(gone,) for gone in stored]
            )
        for gone in stored:
            self.body_path(gone).unlink(missing_ok=True)

    def versions(self) -> Iterator[StoredVersion]:
        """Every stored version, those of one key oldest first."""
        rows = self._read("SELECT id, bucket, key, about FROM versions ORDER BY position")
        for body_id, bucket, key, about in rows:
            yield StoredVersion(body_id, bucket, key, json.loads(about))

    def newest_change(self) -> str:
        """A sequencer not below those of the stored versions, "" when there are none."""
        [(newest,)] = self._read("SELECT max(json_extract(about, '$.last_modified')) FROM versions")
        if newest is None:
            return ""
        moment = datetime.fromisoformat(newest).replace(tzinfo=UTC)
        return f"{int(moment.timestamp() * 1_000_000) + SEQUENCER_MARGIN:X}"

    def _remove_unnamed_bodies(self) -> None:
        named = {row[0] for row in self._read("SELECT id FROM versions")}
        for path in self._bodies.glob("??/*"):
            if path.name not in named:
                path.unlink()

    def owners(self) -> set[str]:
        """What the content belongs to: "bucket …", "queue …" and "table …" of each kind."""
        rows = self._read(
            "SELECT DISTINCT 'bucket ' || bucket FROM versions "
            "UNION SELECT DISTINCT 'queue ' || queue FROM messages "
            "UNION SELECT DISTINCT 'table ' || owner FROM records WHERE kind = 'item'"
        )
        return {row[0] for row in rows}

    # messages: this is a MessageJournal of `local.queue_model`

    def keep_message(self, queue: str, message_id: str, content: dict[str, Any]) -> None:
        """Record a message of a queue; one already recorded moves to this queue."""
        self._write(
            "INSERT INTO messages (id, queue, content) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET queue = excluded.queue",
            (message_id, queue, json.dumps(content)),
        )

    def drop_message(self, message_id: str) -> None:
        """Forget a deleted message."""
        self._write("DELETE FROM messages WHERE id = ?", (message_id,))

    def drop_queue(self, queue: str) -> None:
        """Forget all messages of a purged queue."""
        self._write("DELETE FROM messages WHERE queue = ?", (queue,))

    def messages(self) -> Iterator[StoredMessage]:
        """Every message not deleted, oldest first."""
        for message_id, queue, content in self._read(
            "SELECT id, queue, content FROM messages ORDER BY position"
        ):
            yield StoredMessage(message_id, queue, json.loads(content))

    # table items, parameters

    def save_record(self, kind: str, owner: str, record_id: str, content: Any) -> None:
        """Store JSON content under (kind, owner, id); None removes it."""
        if content is None:
            self._write(
                "DELETE FROM records WHERE kind = ? AND owner = ? AND id = ?",
                (kind, owner, record_id),
            )
            return
        self._write(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
            (kind, owner, record_id, json.dumps(content)),
        )

    def records(self, kind: str) -> Iterator[tuple[str, str, Any]]:
        """(owner, id, content) of everything of a kind."""
        for owner, record_id, content in self._read(
            "SELECT owner, id, content FROM records WHERE kind = ?", (kind,)
        ):
            yield owner, record_id, json.loads(content)

    # the database

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with self._lock:
            self._database.execute(statement, values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _lock_folder(folder: Path) -> BinaryIO:
    """Hold the folder for this process: two clouds over one state would overwrite each other."""
    handle = (folder / "lock").open("wb")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise StateInUseError(
            f"The state folder {folder} is in use by another run. Stop that one, or choose another "
            "folder."
        ) from error
    return handle


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        found = int(database.execute("PRAGMA user_version").fetchone()[0])
        if found > SCHEMA_VERSION:
            raise StateError(
                f"{path} was written by a newer version (format {found}, this one knows "
                f"{SCHEMA_VERSION}). Update, or choose another state folder."
            )
        database.executescript(SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except sqlite3.DatabaseError as error:
        database.close()
        raise StateError(
            f"{path} cannot be read ({error}). Choose another state folder, or remove this one."
        ) from error
    except StateError:
        database.close()
        raise
    return database
