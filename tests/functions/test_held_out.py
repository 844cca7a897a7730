"""The held-out set: which of its slices models are scored on."""

from collections import Counter

import pytest

from tests.functions.evaluations import HELD_OUT, JOB, hold_out
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import EvaluationError
from tomodrop.held_out import HeldOutSlice, held_out_digest, quota_of, read_held_out, sample


def many(sizes: dict[str, int]) -> list[HeldOutSlice]:
    return [
        HeldOutSlice(f"{group}-{number:05d}", number % 2, group)
        for group, size in sizes.items()
        for number in range(size)
    ]


def taken(sizes: dict[str, int], most: int) -> dict[str, int]:
    slices = sample(many(sizes), Counter(sizes), most)
    assert slices == sorted(slices, key=lambda one: one.slice_id)
    return dict(Counter(one.group for one in slices))


def test_a_small_set_is_taken_whole(stack: App) -> None:
    hold_out(stack, HELD_OUT)
    found = read_held_out(stack, JOB, 2)
    assert found.slices == HELD_OUT
    assert (found.total, found.slice_ids[0]) == (20, HELD_OUT[0].slice_id)
    assert found.digest == held_out_digest(stack, JOB)


def test_of_a_large_set_every_group_gives_as_many() -> None:
    assert taken({"a": 100, "b": 3, "c": 50}, 43) == {"a": 20, "b": 3, "c": 20}


def test_with_more_groups_than_slices_some_groups_give_one() -> None:
    found = taken({f"g{number}": 5 for number in range(30)}, 10)
    assert (len(found), set(found.values())) == (10, {1})


def test_the_same_slices_are_taken_each_time_whatever_the_order() -> None:
    sizes = Counter({"a": 100, "b": 90})
    slices = many(sizes)
    first = sample(slices, sizes, 40)
    assert sample(slices[::-1], sizes, 40) == first
    assert len(first) == 40
    assert first != slices[:40]


@pytest.mark.parametrize(("most", "quota"), [(1000, 50), (63, 30), (62, 29), (6, 2), (1, 1)])
def test_the_quota_is_the_largest_that_fits(most: int, quota: int) -> None:
    assert quota_of(Counter({"a": 50, "b": 30, "c": 3}), most) == quota


def test_at_most_so_many_are_scored(stack: App) -> None:
    settings = stack.settings.model_copy(update={"max_evaluation_slices": 100})
    slices = many({"a": 200, "b": 20})
    hold_out(stack, slices)
    found = read_held_out(type(stack)(**vars(stack) | {"settings": settings}), JOB, 2)
    assert found.total == 220
    assert Counter(one.group for one in found.slices) == {"a": 80, "b": 20}


def test_another_byte_is_another_digest(stack: App) -> None:
    hold_out(stack, HELD_OUT)
    before = held_out_digest(stack, JOB)
    hold_out(stack, HELD_OUT[1:])
    assert held_out_digest(stack, JOB) != before


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b"null",
        b'{"slice_id": "a", "label": -1, "group": "g"}',
        b'{"slice_id": "a", "label": 0.0, "group": "g"}',
        b'{"slice_id": null, "label": 0, "group": "g"}',
        b'{"slice_id": "a", "label": 0}',
        b"\xff",
    ],
)
def test_a_damaged_line_is_told(stack: App, line: bytes) -> None:
    body = b'{"slice_id": "a", "label": 0, "group": "g"}\n' + line + b"\n"
    objects.write(stack.s3, stack.settings.work_bucket, keys.held_out(JOB), body, "a/b")
    with pytest.raises(EvaluationError, match="is damaged"):
        read_held_out(stack, JOB, 2)
