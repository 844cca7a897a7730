"""The labelled set: which slices are in it, and which are not, and why."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.functions.builders import backdate, lines_of, source
from tests.functions.labelled import gathered, label, usable, write_part
from tomodrop import dataset, keys
from tomodrop.clients import App
from tomodrop.dataset import mark
from tomodrop.slices import IndexLine, Label


def state(app: App) -> dict[str, dict[str, int]]:
    """What is not learnt from."""
    with gathered(app) as tables:
        found = dataset.unusable(tables)
    return {"uploads": found.uploads, "slices": found.slices}


def unusable(reason: str, uploads: int = 1, slices: int = 1) -> dict[str, dict[str, int]]:
    return {"uploads": {reason: uploads}, "slices": {reason: slices} | {"no_lung": 0}}


def test_slices_are_in_slice_order_and_count_classes_from_0(stack: App) -> None:
    lines = label(stack, "covid/p1/a", "non_covid/p2/b", "covid/p1/c", count=2)
    found = usable(stack)
    assert [name for name, _, _ in found] == sorted(line.slice_id for line in lines)
    assert {(label, group) for _, label, group in found} == {(0, "p2"), (1, "p1")}
    assert len(found) == 6
    assert state(stack) == {"uploads": {}, "slices": {"no_lung": 0}}


def test_parts_are_read_however_many_and_large_they_are(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"covid/p{number}/a" for number in range(40)]
    lines = label(stack, *paths)
    for most_ahead in (1, 10_000, dataset._MOST_AHEAD_BYTES):
        monkeypatch.setattr(dataset, "_MOST_AHEAD_BYTES", most_ahead)
        assert len(usable(stack)) == len(lines) == 40


@pytest.mark.parametrize("turned", [False, True])
def test_only_the_newest_version_counts(stack: App, turned: bool) -> None:
    (old,) = label(stack, "covid/p1/a")
    (new,) = label(stack, "covid/p1/a")
    new = new.model_copy(update={"source": new.source.model_copy(update={"sequencer": "FF"})})
    write_part(stack, "covid-p1-a", [new, old] if turned else [old, new])
    assert [name for name, _, _ in usable(stack)] == [new.slice_id]


@pytest.mark.parametrize("version", ["", "null"])
def test_without_versioning_only_the_newest_counts_too(stack: App, version: str) -> None:
    (line,) = label(stack, "covid/p1/a")
    etag, name = line.source.etag, Label(name="covid", group="p1")
    old = lines_of(source(line.source.key, version, "01", etag="a"), label=name)
    new = lines_of(source(line.source.key, version, "02", etag=etag), label=name)
    write_part(stack, "covid-p1-a", [*new, *old])
    assert [name for name, _, _ in usable(stack)] == [new[0].slice_id]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": None}, "other_class"),
        ({"label": Label(name="influenza", group="p1")}, "other_class"),
        ({"normaliser": "0"}, "made_again"),
        ({"processing": {"image_shape": [3, 224, 224]}}, "made_again"),
        ({"lung_window_hu": (40.0, 400.0)}, "made_again"),
        ({"has_lung": False, "count": 2}, "no_lung"),
    ],
)
def test_what_is_not_to_be_learned_is_left_out_and_counted(
    stack: App, change: dict[str, Any], reason: str
) -> None:
    (line,) = label(stack, "covid/p1/a")
    write_part(stack, "covid-p1-a", [line.model_copy(update=change)])
    assert usable(stack) == []
    assert state(stack) == {"uploads": {reason: 1}, "slices": {"no_lung": 0} | {reason: 1}}


def test_an_upload_that_was_deleted_is_not_learnt_from(stack: App) -> None:
    label(stack, "covid/p1/a", "covid/p1/b", "covid/p1/c", count=2)
    bucket = stack.settings.uploads_bucket
    stack.s3.delete_object(Bucket=bucket, Key="labelled/covid/p1/b")
    assert len(usable(stack)) == 4
    assert state(stack) == unusable("deleted", slices=2)
    stack.s3.delete_object(Bucket=bucket, Key="labelled/covid/p1/a")
    stack.s3.delete_object(Bucket=bucket, Key="labelled/covid/p1/c")
    assert usable(stack) == []


def test_an_upload_whose_new_version_is_not_taken_in_is_not_learnt_from(stack: App) -> None:
    label(stack, "covid/p1/a", "covid/p1/b")
    key = f"{keys.LABELLED}covid/p1/a"
    stack.s3.put_object(Bucket=stack.settings.uploads_bucket, Key=key, Body=b"no picture")
    assert len(usable(stack)) == 1
    assert state(stack) == unusable("replaced")
    # Back to the same bytes: what the index says is right again.
    stack.s3.put_object(Bucket=stack.settings.uploads_bucket, Key=key, Body=b"covid/p1/a")
    assert len(usable(stack)) == 2


def test_the_newest_version_hides_older_ones_even_if_it_is_to_be_made_again(stack: App) -> None:
    (old,) = label(stack, "covid/p1/a")
    (new,) = label(stack, "covid/p1/a")
    newer = {"source": new.source.model_copy(update={"sequencer": "FF"}), "normaliser": "0"}
    write_part(stack, "covid-p1-a", [old, new.model_copy(update=newer)])
    assert usable(stack) == []


def test_a_slice_that_was_made_again_is_as_its_later_line_says(stack: App) -> None:
    (line,) = label(stack, "covid/p1/a")
    old = line.model_copy(update={"processing": {"image_shape": [3, 224, 224]}})
    for name, made, age_s in (("covid-p1-a", old, 60), ("again", line, 0)):
        write_part(stack, name, [made])
        key = f"{keys.DATASET_INDEX}{name}.jsonl"
        backdate(stack.settings.work_bucket, key, timedelta(seconds=age_s))
    assert [name for name, _, _ in usable(stack)] == [line.slice_id]
    shapes = [part[0].processing["image_shape"] for _, part in dataset.index_parts(stack)]
    assert shapes == [[3, 224, 224], [3, 64, 64]]


def test_an_upload_that_is_named_twice_counts_once(stack: App) -> None:
    lines = label(stack, "covid/p1/a", count=3)
    write_part(stack, "again", [*lines, *lines])
    assert len(usable(stack)) == 3
    assert state(stack) == {"uploads": {}, "slices": {"no_lung": 0}}


def test_slices_of_a_volume_without_lung_are_counted(stack: App) -> None:
    lines = label(stack, "covid/p1/a", count=5)
    write_part(
        stack,
        "covid-p1-a",
        [line.model_copy(update={"has_lung": line.index in (1, 2)}) for line in lines],
    )
    assert [name for name, _, _ in usable(stack)] == [line.slice_id for line in lines[1:3]]
    assert state(stack) == {"uploads": {}, "slices": {"no_lung": 3}}


def test_groups_and_counts_are_of_what_is_left(stack: App, change: Callable[..., App]) -> None:
    label(stack, "covid/p1/a", "non_covid/p1/b", "covid/p2/c", count=2)
    with gathered(stack) as tables:
        assert dataset.groups_by_class(tables, 3) == [{"p1"}, {"p1", "p2"}, set()]
        assert set(dataset.counts(tables)) == {(0, "p1", 2), (1, "p1", 2), (1, "p2", 2)}
        tables.execute(
            "INSERT INTO left_out SELECT slice.id, upload, 'r', NULL, 0 FROM slice JOIN upload "
            "ON upload.id = upload WHERE grp = 'p2' OR (label = 0 AND number = 0)"
        )
        assert set(dataset.counts(tables)) == {(0, "p1", 1), (1, "p1", 2)}
        assert dataset.groups_by_class(tables, 2) == [{"p1"}, {"p1"}]
    only = change(class_names=("covid", "other"))
    assert len(usable(only)) == 4


KEYS = [f"labelled/covid/p1/{name}" for name in ("A", "a", "ab", "a/b", "é", "中", "😀", "￿")]


def test_keys_are_compared_as_s3_sorts_them(stack: App) -> None:
    lines: list[IndexLine] = label(stack, *(key.removeprefix("labelled/") for key in KEYS[:3]))
    listing = [(line.source.key, line.source.etag) for line in lines]
    for key in KEYS[3:]:
        of = source(key, "v1", etag="e")
        write_part(stack, str(len(listing)), lines_of(of, label=Label(name="covid", group="p1")))
        listing.append((key, "e"))
    listing.sort(key=lambda pair: pair[0].encode())
    with gathered(stack) as tables:
        tables.execute("UPDATE upload SET state = ''")
        mark(tables, listing)
        assert tables.execute("SELECT key FROM upload WHERE state != ''").fetchall() == []
        mark(tables, listing[::2])
        gone = {key for (key,) in tables.execute("SELECT key FROM upload WHERE state = 'deleted'")}
        assert gone == {key for key, _ in listing[1::2]}
