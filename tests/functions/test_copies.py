"""Copies: which are found, and which of them are left out."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.functions.labelled import near, pixels_of
from tomodrop import copies
from tomodrop.copies import (
    MAX_DISTANCE,
    extent,
    find_copies,
    leave_out_across,
    leave_out_contradictions,
)
from tomodrop.halves import TRAIN, VALIDATION
from tomodrop.pixels import Pixels
from tomodrop.retraining import SCHEMA
from tomodrop.scratch import scratch_tables

HALVES = {"p1": TRAIN, "p2": TRAIN, "p3": VALIDATION, "p4": VALIDATION}
# Name, label, group, numbers; the name is that of an upload of one slice.
Picture = tuple[str, int, str, Pixels | None]
Left = dict[str, tuple[str, str, int]]


@contextmanager
def tables_of(pictures: list[Picture]) -> Iterator[sqlite3.Connection]:
    with scratch_tables(SCHEMA) as tables:
        for number, (name, label, group, pixels) in enumerate(pictures, start=1):
            tables.execute(
                "INSERT INTO upload (id, name, key, label, grp, slices, state) "
                "VALUES (?, ?, ?, ?, ?, 1, '')",
                (number, name, name, label, group),
            )
            digest = bytes.fromhex(pixels.sha256)[:16] if pixels else None
            phash = (bytes.fromhex(pixels.phash) or None) if pixels else None
            tables.execute(
                "INSERT INTO slice (upload, number, sha256, phash) VALUES (?, 0, ?, ?)",
                (number, digest, phash),
            )
        yield tables


def left_out(pictures: list[Picture]) -> Left:
    """Name of what is left out: reason, a copy of it, and bits that differ."""
    with tables_of(pictures) as tables:
        find_copies(tables)
        leave_out_contradictions(tables)
        leave_out_across(tables, HALVES)
        rows = tables.execute(
            "SELECT u.name, reason, c.name, distance FROM left_out "
            "JOIN slice s ON s.id = left_out.slice JOIN upload u ON u.id = s.upload "
            "JOIN slice o ON o.id = left_out.other JOIN upload c ON c.id = o.upload"
        )
        return {name: (reason, other, distance) for name, reason, other, distance in rows}


SAME = pixels_of("a")
NEAR = pixels_of("a re-encoded", near("a", MAX_DISTANCE))
FAR = pixels_of("another", near("a", MAX_DISTANCE + 1))


def test_copies_with_opposite_labels_are_all_left_out() -> None:
    pictures: list[Picture] = [
        ("a", 0, "p1", SAME),
        ("b", 1, "p2", SAME),
        ("c", 0, "p3", SAME),
        ("d", 0, "p1", pixels_of("d")),
    ]
    assert left_out(pictures) == {
        "a": ("opposite_labels", "b", 0),
        "b": ("opposite_labels", "c", 0),
        "c": ("opposite_labels", "b", 0),
    }


def test_opposite_labels_within_a_group_contradict_too() -> None:
    assert left_out([("a", 0, "p1", SAME), ("b", 1, "p1", SAME)]).keys() == {"a", "b"}


def test_near_copies_with_opposite_labels_are_left_out() -> None:
    found = left_out([("a", 0, "p1", SAME), ("b", 1, "p1", NEAR)])
    assert found == {
        "a": ("opposite_labels", "b", MAX_DISTANCE),
        "b": ("opposite_labels", "a", MAX_DISTANCE),
    }


def test_a_training_slice_with_a_held_out_copy_is_left_out() -> None:
    pictures: list[Picture] = [
        ("a", 1, "p1", SAME),
        ("b", 1, "p3", SAME),
        ("c", 1, "p2", SAME),
        ("d", 1, "p4", SAME),
    ]
    assert left_out(pictures) == {
        "a": ("across_the_split", "b", 0),
        "c": ("across_the_split", "b", 0),
    }


@pytest.mark.parametrize("turned", [False, True])
def test_a_training_slice_with_a_near_held_out_copy_is_left_out(turned: bool) -> None:
    pictures: list[Picture] = [("a", 1, "p1", SAME), ("b", 1, "p3", NEAR)]
    found = left_out(pictures[::-1] if turned else pictures)
    assert found == {"a": ("across_the_split", "b", MAX_DISTANCE)}


@pytest.mark.parametrize(
    "other",
    [
        ("b", 1, "p2", SAME),
        ("b", 1, "p2", NEAR),
        ("b", 1, "p1", SAME),
        ("b", 0, "p3", FAR),
        ("b", 0, "p3", pixels_of("b")),
        ("b", 0, "p3", None),
        ("b", 0, "p3", pixels_of("b", "")),
    ],
    ids=[
        "same half",
        "near in the same half",
        "same group",
        "too far",
        "another picture",
        "of an earlier version",
        "without a hash",
    ],
)
def test_what_contradicts_nothing_stays(other: Picture) -> None:
    assert left_out([("a", 1, "p1", SAME), other]) == {}


def test_a_copy_of_a_contradiction_contradicts_as_well() -> None:
    pictures: list[Picture] = [
        ("a", 0, "p1", SAME),
        ("b", 1, "p3", SAME),
        ("c", 0, "p2", NEAR),
    ]
    assert left_out(pictures).keys() == {"a", "b", "c"}
    assert left_out([pictures[0], pictures[2]]) == {}


def test_a_copy_of_what_was_left_out_of_the_held_out_half_stays() -> None:
    """c is like b, which is held out no more: it contradicts a."""
    pictures: list[Picture] = [
        ("a", 0, "p1", SAME),
        ("b", 1, "p3", NEAR),
        ("c", 1, "p2", pixels_of("farther from a", f"{int(NEAR.phash, 16) ^ 0x3FE:064x}")),
    ]
    assert left_out(pictures).keys() == {"a", "b"}
    assert left_out(pictures[1:]).keys() == {"c"}


def test_copies_within_a_group_are_counted() -> None:
    pictures: list[Picture] = [
        ("a", 1, "p1", SAME),
        ("b", 1, "p1", SAME),
        ("c", 1, "p2", SAME),
        ("d", 1, "p1", pixels_of("d")),
        ("e", 1, "p2", SAME),
    ]
    with tables_of(pictures) as tables:
        find_copies(tables)
        assert copies.within_groups(tables) == 2


def test_slices_of_one_upload_are_not_each_other_s_near_copies() -> None:
    with tables_of([("a", 1, "p1", SAME), ("b", 1, "p3", NEAR)]) as tables:
        tables.execute("UPDATE slice SET upload = 1")
        find_copies(tables)
        assert tables.execute("SELECT COUNT(*) FROM near").fetchone() == (0,)


def test_near_copies_are_found_among_many() -> None:
    """Of 400 pictures, each with a copy of 12 scattered bits, at least 19 of 20 are found."""
    chance = random.Random(7)
    pictures: list[Picture] = []
    for number in range(400):
        bits = int(pixels_of(f"{number}").sha256, 16)
        for place in chance.sample(range(256), 12):
            bits ^= 1 << place
        pictures.append((f"a{number}", 1, "p1", pixels_of(f"{number}")))
        pictures.append((f"b{number}", 1, "p3", pixels_of(f"{number} again", f"{bits:064x}")))
    assert len(left_out(pictures)) >= 380


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, (16, 32)),
        (1_000, (16, 32)),
        (100_000, (16, 32)),
        (500_000, (3, 32)),
        (10_000_000, (2, 4)),
        (100_000_000, (2, 4)),
    ],
)
def test_the_search_is_bounded(count: int, expected: tuple[int, int]) -> None:
    assert extent(count) == expected


def test_a_search_says_how_far_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[Picture] = [
        (f"{number}", number % 2, "p1", pixels_of(f"{number}", near("a", number)))
        for number in range(20)
    ]
    with tables_of(pictures) as tables:
        whole = find_copies(tables)
    assert (whole.compared, whole.passes, whole.window, whole.is_whole) == (20, 16, 32, True)
    monkeypatch.setattr(copies, "_MOST_PAIRS", 32)
    with tables_of(pictures) as tables:
        assert not find_copies(tables).is_whole
        assert 0 < tables.execute("SELECT COUNT(*) FROM near").fetchone()[0] <= 32
