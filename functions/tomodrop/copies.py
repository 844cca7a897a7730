"""Copies in the labelled set: the same pixels, or nearly, under another label or in the other half.

A copy under another label teaches that nothing can be told; a copy in the other half makes
validation praise what was learnt by heart. Both are left out, see `leave_out_contradictions` and
`leave_out_across`.

Exact copies are all found, by the digest of their pixels. Near ones by a perceptual hash of 256
bits, at most `MAX_DISTANCE` of which differ, among neighbours in sorted order (the sorted
neighbourhood method of Hernández and Stolfo, 1995): the hashes are sorted several times, each time
from another byte on, and each is compared with those before it. `Search` says how far it looked.

Measured on the 1,733 slices of the SARS-CoV-2 CT set (`benchmarks/copies.py`): copies saved as JPEG
of quality 30 differ by 6 bits at most, at half the size by 16, brighter by 15 % by 24; cut by 2 %
on each side by 34 in the median, so that 11 % of those are found. No pair of the 750,822 across
the classes is within 36 bits. Of the 105 pairs within 24 bits, 16 passes of 32 find all, 3 passes
(half a million slices) 98, and 2 passes of 4 (ten million) 76. Turned and mirrored copies are not
looked for: comparing them too added no pair there. In sets of a million slices and more, slices of
different patients may come as near by chance; what is left out is named for that reason too.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice

from tomodrop.halves import TRAIN, VALIDATION

# Of 256 bits.
MAX_DISTANCE = 24
# Comparisons of all passes together, about 15 s.
_MOST_COMPARISONS = 60_000_000
_MOST_PASSES, _LEAST_PASSES = 16, 2
_WIDEST, _NARROWEST = 32, 4
_MOST_PAIRS = 1_000_000
_HASH_BYTES = 32

OPPOSITE, ACROSS = "opposite_labels", "across_the_split"

SCHEMA = """
CREATE TABLE exact (picture INTEGER, slice INTEGER);
CREATE TABLE near (one INTEGER, other INTEGER, distance INTEGER, PRIMARY KEY (one, other));
"""


@dataclass(frozen=True)
class Search:
    """How near copies were looked for: with `window` hashes before each in `passes` orders.

    `compared`: slices with a hash; `is_whole`: no more pairs were there than could be kept.
    """

    compared: int
    passes: int
    window: int
    max_distance: int = MAX_DISTANCE
    is_whole: bool = True


def find_copies(tables: sqlite3.Connection) -> Search:
    """Look for copies among the slices of the tables, and note them there."""
    _find_exact(tables)
    return _find_near(tables)


def _find_exact(tables: sqlite3.Connection) -> None:
    rows = tables.execute("SELECT sha256, id FROM slice WHERE sha256 IS NOT NULL ORDER BY 1, 2")
    tables.executemany("INSERT INTO exact VALUES (?, ?)", _repeated(rows))


def _repeated(rows: Iterator[tuple[bytes, int]]) -> Iterator[tuple[int, int]]:
    for _, same in groupby(rows, lambda row: row[0]):
        _, first = next(same)
        for place, (_, number) in enumerate(same):
            if not place:
                yield first, first
            yield first, number


def _find_near(tables: sqlite3.Connection) -> Search:
    (count,) = tables.execute("SELECT COUNT(*) FROM slice WHERE phash IS NOT NULL").fetchone()
    passes, window = extent(count)
    is_whole = True
    for number in range(passes):
        start = _HASH_BYTES * number // passes
        rows = tables.execute(
            "SELECT phash, id, upload FROM slice WHERE phash IS NOT NULL "
            "ORDER BY substr(phash, ?) || substr(phash, 1, ?), id",
            (start + 1, start),
        )
        pairs = _neighbours(rows, window)
        tables.executemany(
            "INSERT OR IGNORE INTO near VALUES (?, ?, ?)", islice(pairs, _MOST_PAIRS // passes)
        )
        is_whole = is_whole and next(pairs, None) is None
    _forget_harmless(tables)
    return Search(count, passes, window, is_whole=is_whole)


def extent(count: int) -> tuple[int, int]:
    """Passes and window for so many hashes: fewer of both where there are more to compare."""
    share = _MOST_COMPARISONS // max(1, count)
    passes = max(_LEAST_PASSES, min(_MOST_PASSES, share // _WIDEST))
    return passes, max(_NARROWEST, min(_WIDEST, share // passes))


def _neighbours(
    rows: Iterator[tuple[bytes, int, int]], window: int
) -> Iterator[tuple[int, int, int]]:
    """Pairs of slices of different uploads that nearly have the same hash."""
    before: deque[tuple[int, int, int]] = deque(maxlen=window)
    for phash, number, upload in rows:
        bits = int.from_bytes(phash)
        for other_bits, other, of in before:
            distance = (bits ^ other_bits).bit_count()
            if distance <= MAX_DISTANCE and of != upload:
                yield min(number, other), max(number, other), distance
        before.append((bits, number, upload))


def _forget_harmless(tables: sqlite3.Connection) -> None:
    """Drop pairs of one group and class, and exact copies among the near ones."""
    tables.execute(
        """
        DELETE FROM near WHERE rowid IN (
          SELECT near.rowid FROM near
          JOIN slice a ON a.id = one JOIN upload ua ON ua.id = a.upload
          JOIN slice b ON b.id = other JOIN upload ub ON ub.id = b.upload
          WHERE (ua.label = ub.label AND ua.grp = ub.grp) OR a.sha256 = b.sha256
        )
        """
    )


@dataclass(frozen=True, slots=True)
class _Member:
    """A slice among copies."""

    slice: int
    label: int
    group: str


# Copies of one picture in; what is to be left out of them and one that it is a copy of.
_Harm = Callable[[list[_Member]], Iterator[tuple[_Member, _Member]]]


def leave_out_contradictions(tables: sqlite3.Connection) -> None:
    """Leave out all copies of a picture that has several labels."""
    _leave_out(tables, OPPOSITE, _contradicting, even_of_left_out=True)


def leave_out_across(tables: sqlite3.Connection, halves: Mapping[str, str]) -> None:
    """Leave out training slices whose copy is held out."""
    _leave_out(tables, ACROSS, lambda copies: _leaking(copies, halves))


def _contradicting(copies: list[_Member]) -> Iterator[tuple[_Member, _Member]]:
    faces = {copy.label: copy for copy in copies}
    if len(faces) < 2:
        return
    for copy in copies:
        yield copy, next(face for label, face in faces.items() if label != copy.label)


def _leaking(copies: list[_Member], halves: Mapping[str, str]) -> Iterator[tuple[_Member, _Member]]:
    held_out = next((copy for copy in copies if halves[copy.group] == VALIDATION), None)
    if held_out is None:
        return
    for copy in copies:
        if halves[copy.group] == TRAIN:
            yield copy, held_out


def _leave_out(
    tables: sqlite3.Connection, reason: str, harm: _Harm, *, even_of_left_out: bool = False
) -> None:
    """Leave out what `harm` says; copies of what was left out before count only if asked for."""
    for sets in (_exact_sets, _near_sets):
        tables.executemany(
            "INSERT OR IGNORE INTO left_out SELECT id, upload, ?, ?, ? FROM slice WHERE id = ?",
            (
                (reason, other.slice, distance, copy.slice)
                for copies, distance in sets(tables, even_of_left_out)
                for copy, other in harm(copies)
            ),
        )


def _exact_sets(
    tables: sqlite3.Connection, of_left_out: int
) -> Iterator[tuple[list[_Member], int]]:
    """The copies of each picture, and how far apart they are."""
    rows = tables.execute(
        """
        SELECT picture, slice.id, label, grp FROM exact JOIN slice ON slice.id = exact.slice
        JOIN upload ON upload.id = slice.upload
        WHERE ? OR slice.id NOT IN (SELECT slice FROM left_out) ORDER BY picture, slice.id
        """,
        (of_left_out,),
    )
    for _, same in groupby(rows, lambda row: row[0]):
        yield [_Member(number, label, group) for _, number, label, group in same], 0


def _near_sets(tables: sqlite3.Connection, of_left_out: int) -> Iterator[tuple[list[_Member], int]]:
    rows = tables.execute(
        """
        SELECT a.id, ua.label, ua.grp, b.id, ub.label, ub.grp, distance FROM near
        JOIN slice a ON a.id = one JOIN upload ua ON ua.id = a.upload
        JOIN slice b ON b.id = other JOIN upload ub ON ub.id = b.upload
        WHERE ? OR (a.id NOT IN (SELECT slice FROM left_out)
        AND b.id NOT IN (SELECT slice FROM left_out)) ORDER BY distance, one, other
        """,
        (of_left_out,),
    )
    for row in rows:
        yield [_Member(*row[:3]), _Member(*row[3:6])], row[6]


def within_groups(tables: sqlite3.Connection) -> int:
    """How many slices are exact copies of an earlier one of the same class and group."""
    (count,) = tables.execute(
        """
        SELECT COALESCE(SUM(copies - 1), 0) FROM (
          SELECT COUNT(*) AS copies FROM exact JOIN slice ON slice.id = exact.slice
          JOIN upload ON upload.id = slice.upload GROUP BY picture, label, grp
        )
        """
    ).fetchone()
    return int(count)
