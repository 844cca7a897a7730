"""The labelled set: which slices are in it, how it is halved, and its manifests to the byte."""

import json
import re
from datetime import timedelta
from itertools import combinations, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import backdate, lines_of, source
from tomodrop import dataset, keys, objects
from tomodrop.clients import App
from tomodrop.dataset import Example, examples_of, split
from tomodrop.errors import TrainingDataError
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Label, write_lines

CLASSES = ("non_covid", "covid")
GROUPS = st.sampled_from([f"p{number:02d}" for number in range(12)])
MEMBERS = st.lists(st.sets(GROUPS, min_size=2), min_size=2, max_size=3)


def labelled(name: str, path: str, version: str = "v1", **values: Any) -> list[IndexLine]:
    """The index line of labelled/<class>/<group>/<file>."""
    of = source(f"labelled/{name}/{path}", version, f"00{version[1:]}")
    group = path.partition("/")[0]
    return lines_of(of, label=Label(name=name, group=group), **values)


def examples(members: list[set[str]], per_group: int = 2) -> list[Example]:
    """Slices of classes with these groups."""
    return [
        Example(f"{label}-{group}-{number}", label, group)
        for label, groups in enumerate(members)
        for group in sorted(groups)
        for number in range(per_group)
    ]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class-{number}" for number in range(count))


def groups(half: list[Example]) -> set[str]:
    return {example.group for example in half}


# Which slices


def test_examples_are_in_slice_order_and_count_classes_from_0(settings: Settings) -> None:
    lines = [*labelled("covid", "p1/a"), *labelled("non_covid", "p2/b"), *labelled("covid", "p1/c")]
    found = examples_of(lines, settings)
    assert [example.slice_id for example in found] == sorted(line.slice_id for line in lines)
    assert {(example.label, example.group) for example in found} == {(0, "p2"), (1, "p1")}


@pytest.mark.parametrize("turned", [False, True])
def test_only_the_newest_version_counts(settings: Settings, turned: bool) -> None:
    lines = [*labelled("covid", "p1/a", "v1"), *labelled("covid", "p1/a", "v2")]
    newest = lines[1].slice_id
    (example,) = examples_of(lines[::-1] if turned else lines, settings)
    assert example.slice_id == newest


@pytest.mark.parametrize("version", ["", "null"])
def test_without_versioning_only_the_newest_counts_too(settings: Settings, version: str) -> None:
    key, label = "labelled/covid/p1/a", Label(name="covid", group="p1")
    old = lines_of(source(key, version, "01", etag="a"), label=label)
    new = lines_of(source(key, version, "02", etag="b"), label=label)
    (example,) = examples_of([*new, *old], settings)
    assert example.slice_id == new[0].slice_id


@pytest.mark.parametrize(
    "lines",
    [
        lines_of(source("incoming/a")),
        labelled("influenza", "p1/a"),
        labelled("covid", "p1/a", normaliser="0"),
        labelled("covid", "p1/a", image_shape=[3, 224, 224]),
        [*labelled("covid", "p1/a"), *labelled("covid", "p1/a", normaliser="0")],
    ],
    ids=["no label", "class not learned", "normaliser", "image shape", "made anew by an older one"],
)
def test_what_is_not_to_be_learned_is_left_out(settings: Settings, lines: list[IndexLine]) -> None:
    assert examples_of(lines, settings) == []


def test_the_newest_version_hides_older_ones_even_if_it_is_to_be_made_again(
    settings: Settings,
) -> None:
    lines = [*labelled("covid", "p1/a", "v1"), *labelled("covid", "p1/a", "v2", normaliser="0")]
    assert examples_of(lines, settings) == []


def test_all_parts_of_the_index_are_read(stack: App) -> None:
    for number in range(3):
        lines = labelled("covid", f"p{number}/a")
        key = f"{keys.DATASET_INDEX}{number}.jsonl"
        objects.write(stack.s3, stack.settings.work_bucket, key, write_lines(lines), "text/plain")
    assert groups(dataset.read_examples(stack)) == {"p0", "p1", "p2"}


def test_a_slice_that_was_made_again_is_as_its_later_line_says(stack: App) -> None:
    work = stack.settings.work_bucket
    for name, shape, age_s in (("b", [3, 224, 224], 60), ("a", [3, 64, 64], 0)):
        key = f"{keys.DATASET_INDEX}{name}.jsonl"
        body = write_lines(labelled("covid", "p1/a", image_shape=shape))
        objects.write(stack.s3, work, key, body, "text/plain")
        backdate(work, key, timedelta(seconds=age_s))
    assert len(dataset.read_examples(stack)) == 1
    shapes = [part[0].processing["image_shape"] for _, part in dataset.index_parts(stack)]
    assert shapes == [[3, 224, 224], [3, 64, 64]]


# Halves


@given(MEMBERS, st.floats(0.05, 0.5))
def test_no_group_is_split_and_every_class_is_in_both_halves(
    members: list[set[str]], share: float
) -> None:
    everything = examples(members)
    try:
        halves = split(everything, names(len(members)), share)
    except TrainingDataError:
        return
    assert sorted(halves.train + halves.validation, key=str) == sorted(everything, key=str)
    assert groups(halves.train).isdisjoint(groups(halves.validation))
    for half in (halves.train, halves.validation):
        assert {example.label for example in half} == set(range(len(members)))


@given(st.lists(st.sets(GROUPS, min_size=2, max_size=5), min_size=2, max_size=2))
def test_two_classes_that_can_be_halved_are_halved(members: list[set[str]]) -> None:
    everything = sorted(set().union(*members))
    possible = any(
        all(set(held_out) & of_class and of_class - set(held_out) for of_class in members)
        for size in range(1, len(everything))
        for held_out in combinations(everything, size)
    )
    assert possible
    halves = split(examples(members), CLASSES, 0.2)
    assert groups(halves.train) | groups(halves.validation) == set(everything)


@given(st.sets(GROUPS, min_size=2), st.floats(0.05, 0.5), st.randoms(use_true_random=False))
def test_the_halves_do_not_depend_on_the_order(
    members: set[str], share: float, random: Random
) -> None:
    everything = examples([members, members])
    shuffled = list(everything)
    random.shuffle(shuffled)
    one, other = (split(each, CLASSES, share) for each in (everything, shuffled))
    assert groups(one.validation) == groups(other.validation)


def test_a_group_keeps_its_half_when_others_come_and_go() -> None:
    everyone = {f"patient-{number}" for number in range(200)}
    whole = split(examples([everyone, everyone]), CLASSES, 0.2)
    for without in range(0, 200, 20):
        some = {name for name in everyone if int(name.split("-")[1]) % 20 != without // 20}
        halves = split(examples([some, some]), CLASSES, 0.2)
        assert groups(halves.validation) == groups(whole.validation) & some


def test_the_share_is_about_what_is_asked_for() -> None:
    everyone = {f"patient-{number}" for number in range(1000)}
    halves = split(examples([everyone, everyone]), CLASSES, 0.2)
    assert 170 <= len(groups(halves.validation)) <= 230


def test_halves_are_the_same_in_every_year() -> None:
    halves = split(examples([{"p1", "p2", "p3", "p4"}, {"p1", "p5", "p6"}], 1), CLASSES, 0.2)
    assert groups(halves.validation) == {"p1", "p5"}


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([set(), set()], r"class 'non_covid' has 0 group\(s\)"),
        ([{"p1", "p2"}, set()], r"class 'covid' has 0 group\(s\)"),
        ([{"p1", "p2"}, {"p1"}], r"class 'covid' has 1 group\(s\).*labelled/covid/<group>/"),
        ([{"p1"}, {"p1", "p2"}], r"class 'non_covid' has 1 group\(s\)"),
    ],
)
def test_a_class_that_cannot_be_in_both_halves_is_refused(
    members: list[set[str]], fault: str
) -> None:
    with pytest.raises(TrainingDataError, match=fault):
        split(examples(members), CLASSES, 0.2)


def test_classes_that_share_their_few_groups_crosswise_are_refused() -> None:
    crosswise = [{"p1", "p2"}, {"p2", "p3"}, {"p1", "p3"}]
    with pytest.raises(TrainingDataError, match="classes share too few groups; add groups"):
        split(examples(crosswise), names(3), 0.2)


# Figures and manifests


def test_counts_name_every_class() -> None:
    assert dataset.counts([Example("a", 1, "p"), Example("b", 1, "p")], CLASSES) == {
        "non_covid": 0,
        "covid": 2,
    }


def test_the_digest_is_of_the_set_and_not_of_its_order() -> None:
    some = examples([{"p1", "p2"}, {"p3"}])
    digest = dataset.digest(some)
    assert digest == dataset.digest(some[::-1])
    others = [
        some[1:],
        [Example(some[0].slice_id, 1, some[0].group), *some[1:]],
        [Example(some[0].slice_id, 0, "p9"), *some[1:]],
        [Example("other", 0, some[0].group), *some[1:]],
    ]
    assert len({digest, *map(dataset.digest, others)}) == 5


def test_a_manifest_line_is_exact() -> None:
    examples = [Example("0a-00000", 1, "p1")]
    assert dataset.manifest(examples, "work", "seed", with_groups=False) == (
        b'{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1"}\n'
    )
    assert dataset.manifest(examples, "work", "seed", with_groups=True) == (
        b'{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1", '
        b'"group": "9ba693f79976cdf7"}\n'
    )
    assert dataset.manifest([], "work", "seed", with_groups=False) == b""


def test_a_manifest_tells_groups_apart_and_does_not_name_them() -> None:
    patients = [{"Doe^Jane", "Roe^Richard"}, {"Doe^Jane", "Müller^Ute"}]
    some = examples(patients, per_group=3)
    body = dataset.manifest(some, "work", "seed", with_groups=True)
    lines = [json.loads(line) for line in body.splitlines()]
    by_slice = {example.slice_id: example.group for example in some}
    codes = {
        (by_slice[line["source-ref"].removesuffix(".png").rpartition("/")[2]], line["group"])
        for line in lines
    }
    assert len(codes) == len({group for group, _ in codes}) == len({code for _, code in codes}) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", code) for _, code in codes)


def test_a_manifest_is_shuffled_and_reproducible() -> None:
    some = examples([{"p1", "p2"}, {"p3", "p4"}], per_group=20)
    body = dataset.manifest(some, "work", "job/train", with_groups=False)
    assert body == dataset.manifest(some, "work", "job/train", with_groups=False)
    assert body != dataset.manifest(some, "work", "job/validation", with_groups=False)
    labels = [json.loads(line)["class"] for line in body.splitlines()]
    assert sorted(labels) == ["0"] * 40 + ["1"] * 40
    changes = sum(one != other for one, other in pairwise(labels))
    assert changes > 20  # sorted by class there would be one
    assert some == examples([{"p1", "p2"}, {"p3", "p4"}], per_group=20)


def test_a_shuffled_manifest_is_the_same_on_every_machine() -> None:
    some = [Example(f"s{number}", number % 2, "p") for number in range(5)]
    seed = "tomodrop-train-20261122T030000Z/train"
    body = dataset.manifest(some, "work", seed, with_groups=False)
    order = [json.loads(line)["source-ref"][-5] for line in body.splitlines()]
    assert "".join(order) == "32401"
