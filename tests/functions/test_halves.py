"""Halves: whole groups, every class in both, decided by a keyed hash and kept for ever."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.interference import before_call, refusing
from tomodrop import halves, keys, objects
from tomodrop.clients import App
from tomodrop.errors import TrainingDataError
from tomodrop.halves import TRAIN, VALIDATION, group_code, read_kept, settle

GROUPS = st.sampled_from([f"p{number:02d}" for number in range(12)])
MEMBERS = st.lists(st.sets(GROUPS, min_size=2), min_size=2, max_size=3)
KEPT = st.dictionaries(GROUPS, st.sampled_from([TRAIN, VALIDATION]))


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class-{number}" for number in range(count))


def decide(
    members: Sequence[set[str]],
    share: float = 0.2,
    kept: Mapping[str, str] | None = None,
    key: str = "tomodrop",
) -> dict[str, str]:
    return halves.decide(members, kept or {}, names(len(members)), share, key)


def held_out(decided: Mapping[str, str]) -> set[str]:
    return {group for group, half in decided.items() if half == VALIDATION}


# What is decided


@given(MEMBERS, st.floats(0.05, 0.5), KEPT)
def test_every_class_is_in_both_halves_and_kept_groups_stay(
    members: list[set[str]], share: float, kept: dict[str, str]
) -> None:
    try:
        decided = decide(members, share, kept)
    except TrainingDataError:
        return
    everyone = set().union(*members)
    assert decided.keys() == everyone
    assert all(decided[group] == kept[group] for group in everyone & kept.keys())
    for of_class in members:
        assert {decided[group] for group in of_class} == {TRAIN, VALIDATION}


@given(st.lists(st.sets(GROUPS, min_size=2, max_size=5), min_size=2, max_size=2))
def test_two_classes_that_can_be_halved_are_halved(members: list[set[str]]) -> None:
    everyone = sorted(set().union(*members))
    assert any(
        all(set(chosen) & of_class and of_class - set(chosen) for of_class in members)
        for size in range(1, len(everyone))
        for chosen in combinations(everyone, size)
    )
    assert decide(members).keys() == set(everyone)


def test_a_group_keeps_its_half_when_others_come_and_go() -> None:
    everyone = {f"patient-{number}" for number in range(200)}
    whole = held_out(decide([everyone, everyone]))
    for without in range(0, 200, 20):
        some = {name for name in everyone if int(name.split("-")[1]) % 20 != without // 20}
        assert held_out(decide([some, some])) == whole & some


def test_the_share_is_about_what_is_asked_for() -> None:
    everyone = {f"patient-{number}" for number in range(1000)}
    assert 170 <= len(held_out(decide([everyone, everyone]))) <= 230


def test_halves_are_the_same_in_every_year() -> None:
    decided = decide([{"p1", "p2", "p3", "p4"}, {"p1", "p5", "p6"}])
    assert held_out(decided) == {"p1", "p5"}


def test_another_key_gives_other_halves_and_other_codes() -> None:
    everyone = {f"patient-{number}" for number in range(50)}
    one, other = (held_out(decide([everyone, everyone], key=key)) for key in ("a", "b"))
    assert one != other
    assert group_code("p1", "tomodrop") == "9ba693f79976cdf7"
    assert group_code("p1", "b") != group_code("p1", "tomodrop")


def test_only_groups_without_a_half_are_moved() -> None:
    kept = {"p1": TRAIN, "p2": TRAIN, "p3": TRAIN, "p4": VALIDATION}
    decided = decide([{"p1", "p2", "new"}, {"p3", "p4"}], kept=kept, share=0.0001)
    assert decided == {**kept, "new": VALIDATION}


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([set(), set()], r"class 'class-0' has 0 group\(s\)"),
        ([{"p1", "p2"}, set()], r"class 'class-1' has 0 group\(s\)"),
        ([{"p1", "p2"}, {"p1"}], r"class 'class-1' has 1 group\(s\).*labelled/class-1/<group>/"),
        ([{"p1"}, {"p1", "p2"}], r"class 'class-0' has 1 group\(s\)"),
        ([{"p1", "p2"}, {"p2", "p3"}, {"p1", "p3"}], "classes share too few groups; add groups"),
    ],
)
def test_a_class_that_cannot_be_in_both_halves_is_refused(
    members: list[set[str]], fault: str
) -> None:
    with pytest.raises(TrainingDataError, match=fault):
        decide(members)


@pytest.mark.parametrize(("half", "lacking"), [(TRAIN, "validation"), (VALIDATION, "training")])
def test_a_class_whose_groups_all_have_the_same_half_is_refused(half: str, lacking: str) -> None:
    kept = {"p1": half, "p2": half}
    fault = f"'class-0' has no group in the {lacking} half: an earlier training .* add groups"
    with pytest.raises(TrainingDataError, match=fault):
        decide([{"p1", "p2"}, {"p3", "p4"}], kept=kept)


# What is kept


def settled(app: App, *groups: str, **values: Any) -> dict[str, str]:
    return settle(app, [set(groups), set(groups)], **values)


def test_new_groups_are_added_in_a_part_of_their_own(stack: App) -> None:
    first = settled(stack, "p1", "p2")
    assert read_kept(stack) == (first, 1)
    assert settled(stack, "p1", "p2") == first
    more = settled(stack, "p1", "p2", "p3")
    assert read_kept(stack) == (more, 2)
    assert {group: more[group] for group in first} == first
    body = objects.read(
        stack.s3, stack.settings.work_bucket, f"{keys.DATASET_HALVES}00000002.jsonl"
    )
    assert json.loads(body) == {"group": "p3", "half": more["p3"]}


def test_groups_that_are_gone_keep_their_half_too(stack: App) -> None:
    first = settled(stack, "p1", "p2", "p3")
    settled(stack, "p4", "p5")
    assert {group: read_kept(stack)[0][group] for group in first} == first


def test_of_two_trainings_at_once_the_second_takes_what_the_first_kept(stack: App) -> None:
    """The first decides "p1" otherwise: it was held out there before the second could write."""
    other = {"p1": TRAIN, "p2": VALIDATION}
    assert settled(stack, "a", "b")  # lest the two start from nothing
    alone = halves.decide(
        [{"p1", "p2"}, {"p1", "p2"}], {}, stack.settings.class_names, 0.2, "tomodrop"
    )
    assert alone != other

    def first() -> None:
        lines = (json.dumps({"group": group, "half": half}) for group, half in other.items())
        key = f"{keys.DATASET_HALVES}00000002.jsonl"
        body = "\n".join(lines).encode()
        objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/jsonl")

    # ListObjectsV2, GetObject, then the put that comes too late.
    with before_call(2, first, stack.s3) as calls:
        assert settled(stack, "p1", "p2") == other
    assert calls[2] == "PutObject"
    assert read_kept(stack)[1] == 2


def test_nothing_is_kept_of_what_is_refused(stack: App) -> None:
    with pytest.raises(TrainingDataError):
        settled(stack, "p1")
    assert read_kept(stack) == ({}, 0)


def test_a_part_that_is_being_written_is_waited_for(stack: App) -> None:
    with refusing(stack.s3, "PutObject", "ConditionalRequestConflict", status=409, times=1) as lost:
        decided = settled(stack, "p1", "p2")
    assert len(lost) == 1
    assert read_kept(stack) == (decided, 1)


def test_another_refusal_is_an_error(stack: App) -> None:
    with (
        refusing(stack.s3, "PutObject", "AccessDenied", status=403),
        pytest.raises(Exception, match="AccessDenied"),
    ):
        settled(stack, "p1", "p2")
