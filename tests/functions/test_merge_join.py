"""Uploads meet their results, whatever both are called, in one pass over sorted listings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomodrop import keys
from tomodrop.listings import Stored, Upload, Version
from tomodrop.merge_join import ByName, Row, least_name, side_by_side

NOW = datetime(2026, 11, 27, tzinfo=UTC)
VERSION = Version("v1", "e", 7, NOW)
FOLDERS = (keys.PREDICTIONS, keys.REJECTED)
# What sorts before and after "." and "/", and the letters of ".json"; one to four bytes long.
ODD = st.text(st.sampled_from("ab./-!~0jsonü肺🫁\U0010ffff"), min_size=1, max_size=9)
# Names are cut from 1,001 bytes on, and certain up to 981: these lie around both.
LONG = st.builds(
    lambda letter, room, tail: (letter * 1100).encode()[:room].decode(errors="ignore") + tail,
    st.sampled_from("aü肺🫁"),
    st.integers(960, 1012),
    ODD,
).filter(lambda path: len(path.encode()) <= keys.MAX_KEY_BYTES - len(keys.INCOMING))
PATHS = st.lists(st.one_of(ODD, LONG), unique=True, max_size=40)


def upload(path: str) -> Upload:
    return Upload(f"incoming/{path}", VERSION)


def listed(paths: list[str], after: str = "") -> Iterator[Upload]:
    """As S3 lists them: in the order of their keys' bytes."""
    ordered = sorted(paths, key=lambda path: f"incoming/{path}".encode())
    return (one for one in map(upload, ordered) if one.key > after)


def results(folder: str, paths: list[str], after: str = "") -> tuple[str, Iterator[Stored]]:
    made = [folder + keys.result_name(f"incoming/{path}") for path in paths]
    ordered = sorted(made, key=lambda key: key.encode())
    listing = (Stored(key, "e", 1, NOW) for key in ordered if key > f"{folder}{after}")
    return folder, listing


def rows_of(uploads: list[str], predicted: list[str], rejected: list[str]) -> list[Row]:
    folders = [results(keys.PREDICTIONS, predicted), results(keys.REJECTED, rejected)]
    return list(side_by_side(ByName(listed(uploads)), folders))


def met(rows: list[Row]) -> set[tuple[str | None, ...]]:
    return {
        (
            row.upload.key if row.upload else None,
            *(result.key if result else None for result in row.results),
        )
        for row in rows
    }


def test_a_key_meets_its_result_across_one_that_goes_on_after_it() -> None:
    """`a`, `a.b`, `a/c`, whose results are listed as `a.b.json`, `a.json`, `a/c.json`."""
    paths = ["a", "a.b", "a/c"]
    rows = rows_of(paths, paths, ["a.b"])
    assert [(row.name, *(bool(result) for result in row.results)) for row in rows] == [
        ("a.b.json", True, True),
        ("a.json", True, False),
        ("a/c.json", True, False),
    ]
    assert all(row.upload for row in rows)


@given(PATHS, st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), PATHS)
def test_every_upload_meets_its_results_and_no_other(
    paths: list[str], predicted: set[int], rejected: set[int], of_deleted: list[str]
) -> None:
    have_prediction = [path for place, path in enumerate(paths) if place in predicted]
    have_rejection = [path for place, path in enumerate(paths) if place in rejected]
    gone = [path for path in of_deleted if path not in paths]
    rows = rows_of(paths, [*have_prediction, *gone], have_rejection)
    names = {path: keys.result_name(f"incoming/{path}") for path in (*paths, *gone)}
    assert met(rows) == {
        (
            f"incoming/{path}" if path in paths else None,
            f"predictions/{names[path]}" if path in (*have_prediction, *gone) else None,
            f"rejected/{names[path]}" if path in have_rejection else None,
        )
        for path in (*paths, *gone)
    }
    order = [row.name.encode() for row in rows]
    assert order == sorted(set(order))


@given(PATHS, PATHS, st.integers(1, 7))
def test_it_goes_on_after_any_row(uploads: list[str], predicted: list[str], count: int) -> None:
    whole = rows_of(uploads, predicted, [])
    piecewise: list[Row] = []
    name, key = "", ""
    held: list[Upload] = []
    while True:
        by_name = ByName(listed(uploads, key), held)
        folders = [results(keys.PREDICTIONS, predicted, name), results(keys.REJECTED, [])]
        some = list(islice(side_by_side(by_name, folders), count))
        if not some:
            break
        piecewise += some
        name, key, held = some[-1].name, by_name.last_key or key, by_name.held
    assert piecewise == whole


@given(ODD, ODD)
def test_no_later_key_has_a_result_with_a_lesser_name(one: str, other: str) -> None:
    first, second = sorted((f"incoming/{one}", f"incoming/{other}"))
    assert least_name(first) <= keys.result_name(second).encode()


@given(LONG, LONG)
def test_nor_has_a_later_one_that_is_cut(one: str, other: str) -> None:
    first, second = sorted((f"incoming/{one}", f"incoming/{other}"))
    assert least_name(first) <= keys.result_name(second).encode()


def test_a_million_keys_under_one_name_hold_nothing_back() -> None:
    """`scan` waits for all of `scan-…`; nothing else does."""
    numbered = [f"scan-{number:06d}" for number in range(3000)]
    by_name = ByName(listed(["scan", *numbered]))
    most = 0
    for _ in side_by_side(by_name, []):
        most = max(most, len(by_name.held))
    assert most <= 2


def test_keys_that_are_cut_and_alike_beyond_number_are_left_alone() -> None:
    alike = ["a" * 1001 + f"{number:04d}" for number in range(30)]
    by_name = ByName(listed([*alike, "b"]), most_held=10)
    rows = list(side_by_side(by_name, []))
    assert by_name.left_alone == 20
    assert len(rows) == 11
    assert rows[-1].upload == upload("b")


@pytest.mark.parametrize("folder", ["incoming/", "labelled/"])
def test_labelled_keys_are_ordered_alike(folder: str) -> None:
    listing = iter([Upload(f"{folder}a", VERSION), Upload(f"{folder}a.b", VERSION)])
    assert [row.name for row in side_by_side(ByName(listing), [])] == ["a.b.json", "a.json"]
