"""Index lines, and which version of an upload is the newer one."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import lines_of, source
from tomodrop.errors import EventError
from tomodrop.slices import (
    IndexLine,
    Label,
    Source,
    by_upload,
    chunks_of_uploads,
    is_newer,
    read_lines,
    write_lines,
)

EARLY, LATE = "2026-11-24T15:39:00+00:00", "2026-11-24T15:39:01+00:00"


@dataclass(frozen=True)
class Order:
    older: Source
    newer: Source


def order(older: dict[str, str], newer: dict[str, str]) -> Order:
    return Order(source(version_id="v1", **older), source(version_id="v2", **newer))


@pytest.mark.parametrize(
    "pair",
    [
        order({"sequencer": "0060"}, {"sequencer": "0061"}),
        order({"sequencer": "0060"}, {"sequencer": "00605F"}),
        order({"sequencer": "0060FF"}, {"sequencer": "0061"}),
        order({"sequencer": "005F"}, {"sequencer": "0060000000"}),
        order({"sequencer": "00"}, {"sequencer": "0A"}),
        # Sequencers decide, whatever the times say.
        order(
            {"sequencer": "0060", "last_modified": LATE},
            {"sequencer": "0061", "last_modified": EARLY},
        ),
        # One lacks: the times decide.
        order(
            {"sequencer": "", "last_modified": EARLY}, {"sequencer": "01", "last_modified": LATE}
        ),
        order(
            {"sequencer": "FF", "last_modified": EARLY}, {"sequencer": "", "last_modified": LATE}
        ),
        order({"sequencer": "", "last_modified": EARLY}, {"sequencer": "", "last_modified": LATE}),
        # Within one second: a sweep's comes later.
        order({"sequencer": "0060"}, {"sequencer": ""}),
    ],
)
def test_the_newer_of_two_versions(pair: Order) -> None:
    assert is_newer(pair.newer, pair.older)
    assert not is_newer(pair.older, pair.newer)


@pytest.mark.parametrize(
    "pair",
    [
        order({"sequencer": "0060"}, {"sequencer": "006000"}),
        order({"sequencer": ""}, {"sequencer": ""}),
    ],
)
def test_of_a_tie_neither_is_newer(pair: Order) -> None:
    assert not is_newer(pair.newer, pair.older)
    assert not is_newer(pair.older, pair.newer)


def test_a_version_is_not_newer_than_itself() -> None:
    event, swept = source(sequencer="0060"), source(sequencer="", last_modified=LATE)
    assert not is_newer(swept, event)
    assert not is_newer(event, swept)


@pytest.mark.parametrize("version", ["", "null"])
def test_without_versioning_the_order_still_holds(version: str) -> None:
    older = source(version_id=version, sequencer="0060", etag="a")
    newer = source(version_id=version, sequencer="0061", etag="b")
    assert is_newer(newer, older)
    assert not is_newer(older, newer)


SOURCES = st.builds(
    source,
    version_id=st.sampled_from(["", "null", "v1", "v2", "v3"]),
    sequencer=st.text("01F", max_size=4),
    last_modified=st.sampled_from([EARLY, LATE]),
)


@given(SOURCES, SOURCES)
def test_of_two_versions_at_most_one_is_newer(one: Source, other: Source) -> None:
    assert not (is_newer(one, other) and is_newer(other, one))
    assert not is_newer(one, one)


SEQUENCERS = st.text("0123456789ABCDEF", min_size=1, max_size=18)


@given(st.lists(SEQUENCERS, min_size=3, max_size=3))
def test_sequencers_order_all_versions(sequencers: list[str]) -> None:
    one, two, three = (
        source(version_id=f"v{n}", sequencer=text) for n, text in enumerate(sequencers)
    )
    if is_newer(one, two) and is_newer(two, three):
        assert is_newer(one, three)


def test_lines_are_read_as_they_were_written() -> None:
    lines = lines_of(source(key="incoming/肺 \u2028 \r\n+.png"), 3, Label(name="covid", group="p"))
    body = write_lines(lines)
    assert body.count(b"\n") == 3
    assert list(read_lines(body)) == lines


def test_no_lines_are_an_empty_part() -> None:
    assert write_lines([]) == b""
    assert list(read_lines(b"")) == []


def test_what_a_later_version_adds_is_passed_over() -> None:
    (line,) = lines_of(source())
    described = json.loads(write_lines([line])) | {"new_in_2": 1}
    assert list(read_lines(json.dumps(described).encode())) == [line]


GOOD = write_lines(lines_of(source()))


@pytest.mark.parametrize(
    "body",
    [
        GOOD[:-20],
        GOOD + b"\n\n",
        GOOD + b"null\n",
        b"\xff" + GOOD,
        GOOD.replace(b'"slice_id"', b'"slice"'),
        GOOD.replace(b'"index":0', b'"index":"first"'),
        b"[" * 10_000,
    ],
    ids=["cut off", "empty line", "null", "no text", "no slice id", "no number", "deep"],
)
def test_a_part_that_is_not_readable_is_refused(body: bytes) -> None:
    with pytest.raises(EventError, match=r"line \d of an index part is not readable"):
        list(read_lines(body))


def test_a_refusal_names_the_fault_and_not_the_line() -> None:
    good = write_lines(lines_of(source(key="incoming/SECRET.png")))
    body = good.replace(b'"index":0', b'"index":"SECRET"')
    with pytest.raises(EventError) as refused:
        list(read_lines(body))
    assert "SECRET" not in str(refused.value)


def test_slices_are_grouped_by_upload_version_in_their_order() -> None:
    one, two = lines_of(source(version_id="v1"), 3), lines_of(source(version_id="v2"), 2)
    found = by_upload([two[1], one[2], one[0], two[0], one[1]])
    assert sorted(map(len, found.values())) == [2, 3]
    assert sorted(found.values(), key=len) == [two, one]


def test_slices_that_were_delivered_twice_count_once() -> None:
    lines = lines_of(source(), 2)
    assert list(by_upload([*lines, *lines[::-1]]).values()) == [lines]


@given(st.permutations([line for n in range(4) for line in lines_of(source(f"incoming/{n}"), 2)]))
def test_the_grouping_does_not_depend_on_the_order(lines: list[IndexLine]) -> None:
    assert list(by_upload(lines).items()) == list(by_upload(sorted(lines, key=str)).items())


@given(st.lists(st.integers(1, 7), max_size=20), st.integers(1, 9))
def test_chunks_are_bounded_and_lose_nothing(counts: list[int], most: int) -> None:
    lines = [
        line
        for number, count in enumerate(counts)
        for line in lines_of(source(f"incoming/{number}"), count)
    ]
    chunks = list(chunks_of_uploads(lines, most))
    merged = {upload: slices for chunk in chunks for upload, slices in chunk.items()}
    assert merged == by_upload(lines)
    assert sum(map(len, chunks)) == len(counts)
    assert all(sum(map(len, chunk.values())) <= most or len(chunk) == 1 for chunk in chunks)
