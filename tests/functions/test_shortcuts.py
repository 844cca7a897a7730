"""Shortcuts: figures that can be checked by hand, or by comparing every pair."""

import random

import pytest

from tomodrop.halves import TRAIN, VALIDATION
from tomodrop.shortcuts import Facts, Shortcut, Table, facts_of_upload, measure, told

CLASSES = ("non_covid", "covid")


def halved(fact: str, train: Table, held_out: Table, classes: int = 2) -> Facts:
    facts = Facts(classes)
    facts.tables[fact] = {TRAIN: train, VALIDATION: held_out}
    return facts


def test_a_format_that_gives_the_class_away_is_found() -> None:
    facts = halved("format", {"PNG": [90, 0], "JPEG": [0, 60]}, {"PNG": [9, 0], "JPEG": [0, 6]})
    assert measure(facts, CLASSES) == [Shortcut("format", "covid", 1.0, 1.0)]


def test_one_that_tells_nothing_has_half() -> None:
    facts = halved("alpha", {"none": [50, 50]}, {"none": [10, 30]})
    assert measure(facts, CLASSES) == [Shortcut("alpha", "covid", 0.5, 0.5)]


def test_what_was_learnt_counts_and_not_what_held_out_values_say() -> None:
    """In training JPEG means covid; in the held-out half it is the other way round."""
    facts = halved("format", {"PNG": [9, 1], "JPEG": [1, 9]}, {"PNG": [0, 8], "JPEG": [8, 0]})
    assert measure(facts, CLASSES) == [Shortcut("format", "covid", 0.0, 0.0)]


def test_a_value_that_training_never_saw_tells_nothing() -> None:
    auc, balanced = told({"a": [5, 0], "b": [0, 5]}, {"c": [3, 3]}, 1) or (0, 0)
    assert (auc, balanced) == (0.5, 0.5)


def test_a_band_in_the_middle_is_told_as_well() -> None:
    train: Table = {float(n): [0, 10] if 40 <= n < 60 else [10, 0] for n in range(100)}
    auc, balanced = told(train, train, 1) or (0, 0)
    assert auc > 0.97
    assert balanced > 0.95


def test_numbers_agree_with_a_threshold_s_own_figures() -> None:
    chance = random.Random(3)
    train: Table = {}
    held_out: Table = {}
    for table, count in ((train, 2000), (held_out, 700)):
        for _ in range(count):
            label = chance.randrange(2)
            value = round(chance.gauss(100 + 15 * label, 12))
            table.setdefault(value, [0, 0])[label] += 1
    auc, balanced = told(train, held_out, 1) or (0, 0)
    positives, negatives = (
        [float(value) for value, row in held_out.items() for _ in range(row[label])]
        for label in (1, 0)
    )
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert auc == pytest.approx(won / len(positives) / len(negatives), abs=0.02)
    right = (
        sum(value > 107.5 for value in positives) / len(positives),
        sum(value <= 107.5 for value in negatives) / len(negatives),
    )
    assert balanced == pytest.approx(sum(right) / 2, abs=0.03)


def test_of_several_classes_the_one_told_best_counts() -> None:
    table: Table = {"a": [10, 10, 0], "b": [0, 0, 10]}
    (found,) = measure(halved("format", table, table, 3), ("x", "y", "z"))
    assert (found.class_name, found.auc) == ("z", 1.0)


@pytest.mark.parametrize(
    ("train", "held_out"),
    [({}, {}), ({}, {"a": [1, 1]}), ({"a": [1, 1]}, {}), ({"a": [1, 1]}, {"a": [5, 0]})],
)
def test_without_both_classes_nothing_is_said(train: Table, held_out: Table) -> None:
    assert told(train, held_out, 1) is None
    assert measure(halved("format", train, held_out), CLASSES) == []


def test_the_strongest_comes_first() -> None:
    facts = halved("alpha", {"none": [5, 5]}, {"none": [5, 5]})
    facts.tables["format"] = {half: {"a": [5, 0], "b": [0, 5]} for half in (TRAIN, VALIDATION)}
    assert [one.fact for one in measure(facts, CLASSES)] == ["format", "alpha"]


def test_facts_of_an_upload() -> None:
    assert facts_of_upload(512, 512, "DICOM", "", is_lossy=False) == {
        "size": 18.0,
        "aspect": 1.0,
        "format": "DICOM",
        "compression": "lossless or unknown",
        "alpha": "none",
    }
    assert facts_of_upload(0, 0, "", "opaque", is_lossy=True) == {
        "format": "unknown",
        "compression": "lossy",
        "alpha": "opaque",
    }


def test_tables_stay_small_however_many_sizes_there_are() -> None:
    facts = Facts(2)
    for width in range(32, 4096):
        facts.add(TRAIN, 1, facts_of_upload(width, 4096, "PNG", "", is_lossy=False))
    assert len(facts.tables["size"][TRAIN]) < 80
    assert len(facts.tables["aspect"][TRAIN]) <= 101
