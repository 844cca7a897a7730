"""The labelled set: what the index parts hold, gathered in tables, and which of it is current.

Ten million slices are more than a function's memory holds, so they go through tables on disk
(`scratch`): a row for each upload that a part names, and one for each of its slices to learn from.
Groups are held in memory, about 0.3 KB each.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from tomodrop import keys, objects
from tomodrop.clients import THREADS, App
from tomodrop.imaging.version import NORMALISER
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Source, by_upload, is_newer, read_lines
from tomodrop.volumes import shows_lung

# What an upload is besides current. Its slices are not learnt from.
SUPERSEDED, REPLACED, DELETED = "superseded", "replaced", "deleted"
MADE_AGAIN, OTHER_CLASS, NO_LUNG = "made_again", "other_class", "no_lung"
CURRENT = ""

SCHEMA = """
CREATE TABLE upload (
  id INTEGER PRIMARY KEY, name TEXT, key TEXT, version_id TEXT, etag TEXT, sequencer TEXT,
  last_modified TEXT, modified REAL, state TEXT, label INTEGER, grp TEXT, slices INTEGER,
  without_lung INTEGER, width INTEGER, height INTEGER, format TEXT, lossy INTEGER, alpha TEXT
);
CREATE TABLE slice (
  id INTEGER PRIMARY KEY, upload INTEGER, number INTEGER,
  sha256 BLOB, phash BLOB, mean REAL, spread REAL, lit REAL
);
CREATE TABLE left_out (
  slice INTEGER PRIMARY KEY, upload INTEGER, reason TEXT, other INTEGER, distance INTEGER
);
"""
_INSERT_UPLOAD = f"INSERT INTO upload VALUES ({', '.join('?' * 18)})"  # noqa: S608
_INSERT_SLICE = "INSERT INTO slice VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"

_MIB = 1024 * 1024
# Of parts that are fetched together, so that memory stays bounded however large they are.
_MOST_AHEAD_BYTES = 16 * _MIB


@dataclass(frozen=True)
class Unusable:
    """Uploads and slices that are not learnt from, by reason."""

    uploads: dict[str, int]
    slices: dict[str, int]


def gather(app: App, tables: sqlite3.Connection) -> None:
    """Fill the tables with the labelled set, and mark what of it is current."""
    with ThreadPoolExecutor(THREADS) as pool:
        number = 0
        for modified, body in _read_ahead(app, pool):
            for lines in _uploads_of(body):
                number += 1
                _add(tables, number, lines, modified, app.settings)
    uploads = objects.listing(app.s3, app.settings.uploads_bucket, keys.LABELLED)
    mark(tables, ((found["Key"], found["ETag"].strip('"')) for found in uploads))


def index_parts(app: App) -> Iterator[tuple[datetime, list[IndexLine]]]:
    """The index parts and when each was written, oldest first.

    A slice that was made again is named again: the later line says what its picture is now.
    """
    work = app.settings.work_bucket
    parts = objects.listing(app.s3, work, keys.DATASET_INDEX)
    for part in sorted(parts, key=lambda part: part["LastModified"]):
        yield part["LastModified"], list(read_lines(objects.read(app.s3, work, part["Key"])))


def _read_ahead(app: App, pool: Executor) -> Iterator[tuple[datetime, bytes]]:
    """Every index part and when it was written, in order of their keys."""
    work = app.settings.work_bucket
    fetched: Iterable[tuple[datetime, bytes]] = ()
    for some in _windows(objects.listing(app.s3, work, keys.DATASET_INDEX)):
        # Fetched from now on, while those before are worked on.
        bodies = pool.map(lambda part: objects.read(app.s3, work, part["Key"]), some)
        yield from fetched
        fetched = zip((part["LastModified"] for part in some), bodies, strict=True)
    yield from fetched


def _uploads_of(body: bytes) -> Iterator[list[IndexLine]]:
    """The uploads that a part names, each by its slices.

    One at a time: the garbage collector looks at whatever lines are held, again and again.
    """
    for _, of_upload in groupby(read_lines(body), lambda line: line.slice_id.rpartition("-")[0]):
        yield from by_upload(of_upload).values()


def _windows(parts: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Parts that are fetched together: bounded in number and bytes, or one that is larger."""
    some: list[dict[str, Any]] = []
    for part in parts:
        some.append(part)
        if len(some) >= 2 * THREADS or sum(one["Size"] for one in some) >= _MOST_AHEAD_BYTES:
            yield some
            some = []
    if some:
        yield some


def _add(
    tables: sqlite3.Connection,
    number: int,
    lines: list[IndexLine],
    modified: datetime,
    settings: Settings,
) -> None:
    """One upload, as one part names it, with those of its slices that show lung."""
    shown = [line for line in lines if shows_lung(line)]
    tables.execute(_INSERT_UPLOAD, _upload_row(number, lines, shown, modified, settings))
    tables.executemany(_INSERT_SLICE, (_slice_row(number, line) for line in shown))


def _upload_row(
    number: int,
    lines: list[IndexLine],
    shown: list[IndexLine],
    modified: datetime,
    settings: Settings,
) -> tuple[Any, ...]:
    line, source, processing = lines[0], lines[0].source, lines[0].processing
    name = line.label.name if line.label else ""
    state = _state(line, is_learned=name in settings.class_names, has_lung=bool(shown), of=settings)
    return (
        number,
        line.slice_id.rpartition("-")[0],
        source.key,
        source.version_id,
        source.etag,
        source.sequencer,
        source.last_modified,
        modified.timestamp(),
        state,
        settings.class_names.index(name) if name in settings.class_names else None,
        line.label.group if line.label else "",
        len(shown),
        len(lines) - len(shown),
        _whole(processing.get("width_px")),
        _whole(processing.get("height_px")),
        str(processing.get("format", "")),
        bool(processing.get("lossy")),
        str(processing.get("alpha", "")),
    )


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _state(line: IndexLine, *, is_learned: bool, has_lung: bool, of: Settings) -> str:
    if not is_learned:
        return OTHER_CLASS
    if not is_current(line, of):
        return MADE_AGAIN
    return CURRENT if has_lung else NO_LUNG


def _slice_row(upload: int, line: IndexLine) -> tuple[Any, ...]:
    number, pixels = int(line.slice_id.rpartition("-")[2]), line.pixels
    if pixels is None:
        return (upload, number, None, None, None, None, None)
    sha256 = bytes.fromhex(pixels.sha256)[:16]  # half of it tells pictures apart as well
    phash = bytes.fromhex(pixels.phash) or None
    return (upload, number, sha256, phash, pixels.mean, pixels.spread, pixels.lit_share)


def is_current(line: IndexLine, settings: Settings) -> bool:
    """Whether intake would make the same pixels now: by normaliser, image shape and lung window."""
    made = (line.normaliser, line.processing.get("image_shape"), line.lung_window_hu)
    return made == (NORMALISER, list(settings.image_shape), settings.lung_window_hu)


def mark(tables: sqlite3.Connection, uploads: Iterable[tuple[str, str]]) -> None:
    """Mark every upload that is not the current one of its key, and drop slices not learnt from.

    `uploads`: keys and ETags of what lies in the uploads bucket, in the order of their bytes, as
    S3 lists them and SQLite sorts.
    """
    there = _Listing(uploads)
    marks = ((state, number) for number, state in _not_current(tables, there) if state != CURRENT)
    tables.executemany("UPDATE upload SET state = ? WHERE id = ?", marks)
    tables.execute("DELETE FROM slice WHERE upload IN (SELECT id FROM upload WHERE state != '')")


class _Listing:
    """A sorted listing that is asked for keys in the same order."""

    def __init__(self, uploads: Iterable[tuple[str, str]]) -> None:
        self._left = iter(uploads)
        self._key, self._etag = b"", ""

    def etag(self, key: str) -> str | None:
        """The ETag of what lies there; None: nothing does."""
        wanted = key.encode()
        while self._key < wanted:
            found = next(self._left, None)
            if found is None:
                return None
            self._key, self._etag = found[0].encode(), found[1]
        return self._etag if self._key == wanted else None


_BY_KEY = """
SELECT key, name, id, version_id, etag, sequencer, last_modified, state FROM upload
ORDER BY key, name, modified, id
"""


def _not_current(tables: sqlite3.Connection, there: _Listing) -> Iterator[tuple[int, str]]:
    """The new state of uploads, by number."""
    for key, rows in groupby(tables.execute(_BY_KEY), lambda row: row[0]):
        of_key = list(rows)
        # What a part said later of the same version counts: its slices were made again.
        latest = {row[1]: (row[2], _source(row), row[7]) for row in of_key}
        chosen, source, state = _newest(latest.values())
        yield from ((row[2], SUPERSEDED) for row in of_key if row[2] != chosen)
        etag = there.etag(key)
        if etag is None:
            yield chosen, DELETED
        elif etag != source.etag:
            yield chosen, REPLACED
        else:
            yield chosen, state


def _newest(versions: Iterable[tuple[int, Source, str]]) -> tuple[int, Source, str]:
    newest, *others = versions
    for version in others:
        if is_newer(version[1], newest[1]):
            newest = version
    return newest


def _source(row: tuple[Any, ...]) -> Source:
    key, _, _, version_id, etag, sequencer, last_modified, _ = row
    return Source.model_construct(
        key=key,
        version_id=version_id,
        etag=etag,
        sequencer=sequencer,
        last_modified=last_modified,
    )


def digest(tables: sqlite3.Connection) -> str:
    """The same for the same versions of the same uploads in the same states, learnt from or not."""
    found = hashlib.sha256()
    rows = "SELECT name, state FROM upload WHERE state != 'superseded' ORDER BY name"
    for name, state in tables.execute(rows):
        found.update(f"{name} {state}\n".encode())
    return found.hexdigest()


def groups_by_class(tables: sqlite3.Connection, class_count: int) -> list[set[str]]:
    """The groups that have slices of each class left, in the order of the class names."""
    groups: list[set[str]] = [set() for _ in range(class_count)]
    for label, group, _ in counts(tables):
        groups[label].add(group)
    return groups


def counts(tables: sqlite3.Connection) -> Iterator[tuple[int, str, int]]:
    """How many slices are left of each class in each group: (label, group, slices)."""
    yield from tables.execute(
        """
        SELECT label, grp, SUM(slices - COALESCE(gone, 0)) AS left_in FROM upload
        LEFT JOIN (SELECT upload, COUNT(*) AS gone FROM left_out GROUP BY upload) ON upload = id
        WHERE state = '' GROUP BY label, grp HAVING left_in > 0
        """
    )


def unusable(tables: sqlite3.Connection) -> Unusable:
    """What the index names and nothing is learnt from."""
    found = tables.execute(
        "SELECT state, COUNT(*), SUM(slices + without_lung) FROM upload WHERE state != '' "
        "AND state != 'superseded' GROUP BY state"
    ).fetchall()
    (without_lung,) = tables.execute(
        "SELECT COALESCE(SUM(without_lung), 0) FROM upload WHERE state = ''"
    ).fetchone()
    slices = {state: count for state, _, count in found}
    slices[NO_LUNG] = slices.get(NO_LUNG, 0) + without_lung
    return Unusable({state: count for state, count, _ in found}, slices)
