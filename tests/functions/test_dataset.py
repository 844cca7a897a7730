"""The labelled set: which slices are in it, how it is halved, and its manifests to the byte."""

import json
import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.functions.builders import backdate, lines_of, source
from tomodrop import dataset, keys, objects
from tomodrop.clients import App
from tomodrop.dataset import Example, examples_of
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Label, write_lines

CLASSES = ("non_covid", "covid")


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


# Figures and manifests


def test_a_group_s_slices_go_where_the_group_goes() -> None:
    some = examples([{"p1", "p2"}, {"p1", "p3"}])
    assert dataset.groups_by_class(some, (*CLASSES, "empty")) == [{"p1", "p2"}, {"p1", "p3"}, set()]
    halved = dataset.split(some, {"p1": "validation", "p2": "train", "p3": "train"})
    assert groups(halved.validation) == {"p1"}
    assert groups(halved.train) == {"p2", "p3"}
    assert sorted(halved.train + halved.validation, key=str) == sorted(some, key=str)


def test_a_held_out_line_is_exact_and_names_no_group() -> None:
    some = [Example("0a-00000", 1, "Doe^Jane"), Example("0b-00000", 0, "p1")]
    assert dataset.held_out_lines(some, "tomodrop") == (
        b'{"slice_id": "0a-00000", "label": 1, "group": "c7772811bb0b97b9"}\n'
        b'{"slice_id": "0b-00000", "label": 0, "group": "9ba693f79976cdf7"}\n'
    )
    assert b"9ba693f79976cdf7" not in dataset.held_out_lines(some, "a secret")
    assert dataset.held_out_lines([], "tomodrop") == b""


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
    assert dataset.manifest(examples, "work", "seed", groups_key=None) == (
        b'{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1"}\n'
    )
    assert dataset.manifest(examples, "work", "seed", groups_key="tomodrop") == (
        b'{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1", '
        b'"group": "9ba693f79976cdf7"}\n'
    )
    assert dataset.manifest([], "work", "seed", groups_key=None) == b""


def test_a_manifest_tells_groups_apart_and_does_not_name_them() -> None:
    patients = [{"Doe^Jane", "Roe^Richard"}, {"Doe^Jane", "Müller^Ute"}]
    some = examples(patients, per_group=3)
    body = dataset.manifest(some, "work", "seed", groups_key="tomodrop")
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
    body = dataset.manifest(some, "work", "job/train", groups_key=None)
    assert body == dataset.manifest(some, "work", "job/train", groups_key=None)
    assert body != dataset.manifest(some, "work", "job/validation", groups_key=None)
    labels = [json.loads(line)["class"] for line in body.splitlines()]
    assert sorted(labels) == ["0"] * 40 + ["1"] * 40
    changes = sum(one != other for one, other in pairwise(labels))
    assert changes > 20  # sorted by class there would be one
    assert some == examples([{"p1", "p2"}, {"p3", "p4"}], per_group=20)


def test_a_shuffled_manifest_is_the_same_on_every_machine() -> None:
    some = [Example(f"s{number}", number % 2, "p") for number in range(5)]
    seed = "tomodrop-train-20261122T030000Z/train"
    body = dataset.manifest(some, "work", seed, groups_key=None)
    order = [json.loads(line)["source-ref"][-5] for line in body.splitlines()]
    assert "".join(order) == "32401"
