"""Manifests to the byte: what is in them, how often, and in which order."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.functions.labelled import gathered, label
from tomodrop import manifests
from tomodrop.clients import App
from tomodrop.halves import TRAIN, VALIDATION, group_code
from tomodrop.manifests import LaidOut, Plan, lay_out, repeats
from tomodrop.retraining import SCHEMA
from tomodrop.scratch import scratch_tables

HALVES = {"p1": TRAIN, "p2": TRAIN, "p3": VALIDATION, "Doe^Jane": TRAIN}
_UPLOAD = (
    "INSERT INTO upload (id, name, key, label, grp, slices, state, width, height, lossy) "
    "VALUES (?, ?, ?, ?, ?, 1, '', 512, 512, 0)"
)


@contextmanager
def laid_out(
    slices: Sequence[tuple[str, int, str]],
    seed: str = "job",
    factors: Sequence[float] = (1.0, 1.0),
    split_key: str = "tomodrop",
) -> Iterator[tuple[sqlite3.Connection, LaidOut]]:
    """Tables with an upload of one slice for each (name, label, group)."""
    with scratch_tables(SCHEMA) as tables:
        for number, (name, label_, group) in enumerate(slices):
            tables.execute(_UPLOAD, (number, name, name, label_, group))
            tables.execute("INSERT INTO slice (upload, number) VALUES (?, 0)", (number,))
        yield tables, lay_out(tables, Plan(HALVES, split_key, factors, seed), 2)


def text(tables: sqlite3.Connection, half: str, *, with_groups: bool = False) -> str:
    return "".join(manifests.manifest(tables, half, "work", with_groups=with_groups))


def two_classes(count: int, group: str = "p1") -> list[tuple[str, int, str]]:
    return [(f"{number:032x}", number % 2, group) for number in range(count)]


def test_a_line_is_exact() -> None:
    with laid_out([("0a", 1, "p1"), ("0b", 0, "p3")]) as (tables, made):
        assert text(tables, TRAIN) == (
            '{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1"}\n'
        )
        assert text(tables, TRAIN, with_groups=True) == (
            '{"source-ref": "s3://work/dataset/slices/0a-00000.png", "class": "1", '
            '"group": "9ba693f79976cdf7"}\n'
        )
        assert text(tables, VALIDATION) == (
            '{"source-ref": "s3://work/dataset/slices/0b-00000.png", "class": "0"}\n'
        )
        assert made.training_samples == 1


def test_nothing_is_nothing() -> None:
    with laid_out([]) as (tables, made):
        assert text(tables, TRAIN) == "".join(manifests.held_out(tables)) == ""
        assert made.training_samples == 0


def test_held_out_lines_are_exact_and_in_slice_order() -> None:
    slices = [("0c", 1, "p3"), ("0a", 0, "p3"), ("0b", 1, "p1")]
    code = group_code("p3", "a secret")
    with laid_out(slices, split_key="a secret") as (tables, _):
        assert "".join(manifests.held_out(tables)) == (
            f'{{"slice_id": "0a-00000", "label": 0, "group": "{code}"}}\n'
            f'{{"slice_id": "0c-00000", "label": 1, "group": "{code}"}}\n'
        )


def test_a_manifest_tells_groups_apart_and_does_not_name_them() -> None:
    slices = [*two_classes(6, "Doe^Jane"), ("f" * 32, 0, "p1")]
    with laid_out(slices) as (tables, _):
        lines = [json.loads(line) for line in text(tables, TRAIN, with_groups=True).splitlines()]
    codes = Counter(line["group"] for line in lines)
    assert sorted(codes.values()) == [1, 6]
    assert all(re.fullmatch("[0-9a-f]{16}", code) for code in codes)


def test_the_order_is_shuffled_and_the_same_for_the_same_job_and_set() -> None:
    some = two_classes(80)
    with laid_out(some) as (tables, _), laid_out(some[::-1]) as (again, _):
        body = text(tables, TRAIN)
        assert body == text(again, TRAIN)
    with laid_out(some, "another") as (tables, _):
        other = text(tables, TRAIN)
        assert body != other
        assert sorted(body.splitlines()) == sorted(other.splitlines())
    labels = [json.loads(line)["class"] for line in body.splitlines()]
    assert sorted(labels) == ["0"] * 40 + ["1"] * 40
    assert sum(one != other for one, other in pairwise(labels)) > 20


def test_a_shuffled_order_is_the_same_on_every_machine() -> None:
    with laid_out(two_classes(6), "tomodrop-train-20261122T030000Z") as (tables, _):
        order = re.findall(r"(\d)-00000", text(tables, TRAIN))
    assert "".join(order) == "051423"


def test_every_order_is_about_equally_often() -> None:
    found: Counter[str] = Counter()
    for seed in range(600):
        with laid_out(two_classes(3), str(seed)) as (tables, _):
            found["".join(re.findall(r"(\d)-00000", text(tables, TRAIN)))] += 1
    assert len(found) == 6
    assert sum((count - 100) ** 2 / 100 for count in found.values()) < 20.5  # chi-square, 0.1 %


@pytest.mark.parametrize(
    ("slices", "factors"),
    [
        ([10, 10], [1.0, 1.0]),
        ([10, 25], [2.5, 1.0]),
        ([1000, 1], [1.0, 10.0]),
        ([6, 3, 4], [1.0, 2.0, 1.5]),
    ],
)
def test_rarer_classes_are_repeated_ten_times_at_most(
    slices: list[int], factors: list[float]
) -> None:
    assert repeats(slices) == factors


@pytest.mark.parametrize(("rare", "often"), [(10, 25), (3, 10), (7, 9), (1, 10)])
def test_repeating_balances_to_the_slice_and_spares_the_held_out(rare: int, often: int) -> None:
    train = [(f"{number:032x}", int(number >= rare), "p1") for number in range(rare + often)]
    held_out = [("e" * 32, 0, "p3"), ("f" * 32, 1, "p3")]
    with laid_out([*train, *held_out], factors=repeats([rare, often])) as (tables, made):
        lines = text(tables, TRAIN).splitlines()
        assert Counter(json.loads(line)["class"] for line in lines) == {"0": often, "1": often}
        assert made.training_samples == len(lines) == 2 * often
        times = Counter(line for line in lines if '"0"' in line).values()
        assert max(times) - min(times) <= 1
        assert len(text(tables, VALIDATION).splitlines()) == 2


def test_the_digest_is_of_the_set_and_not_of_its_order_or_repeats() -> None:
    some = two_classes(4)
    digests = []
    for slices, factors in (
        (some, (1.0, 1.0)),
        (some[::-1], (3.0, 1.0)),
        (some[1:], (1.0, 1.0)),
        ([(some[0][0], 1, "p1"), *some[1:]], (1.0, 1.0)),
        ([(some[0][0], 0, "p2"), *some[1:]], (1.0, 1.0)),
    ):
        with laid_out(slices, factors=factors) as (_, made):
            digests.append(made.digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_facts_are_counted_by_half_and_label(stack: App) -> None:
    label(stack, "covid/p1/a", count=2, width_px=512, height_px=512, lossy=True)
    label(stack, "non_covid/p3/b", width_px=512, height_px=256, alpha="opaque")
    with gathered(stack) as tables:
        made = lay_out(tables, Plan(HALVES, "k", (1.0, 1.0), "job"), 2)
    train, held_out = (
        {fact: halves[half] for fact, halves in made.facts.tables.items()}
        for half in (TRAIN, VALIDATION)
    )
    assert train == {
        "size": {18.0: [0, 2]},
        "aspect": {1.0: [0, 2]},
        "mean": {100: [0, 2]},
        "spread": {50: [0, 2]},
        "format": {"PNG": [0, 2]},
        "compression": {"lossy": [0, 2]},
        "alpha": {"none": [0, 2]},
    }
    assert held_out["aspect"] == {2.0: [1, 0]}
    assert held_out["alpha"] == {"opaque": [1, 0]}
    assert held_out["compression"] == {"lossless or unknown": [1, 0]}
    assert made.greys["mean"][100] == made.greys["lit_share"][50] == 2
