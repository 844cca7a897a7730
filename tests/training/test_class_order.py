import numpy as np
import pytest

from training.algorithm.class_order import EARLY_SAMPLES, ClassOrder, watch_order
from training.algorithm.sources import Sample


def watch(labels: list[str]) -> None:
    samples = [Sample(number, b"", label.encode()) for number, label in enumerate(labels)]
    assert list(watch_order(iter(samples), "train_0")) == samples


def mixed(labels: list[str]) -> list[str]:
    return [str(label) for label in np.random.default_rng(3).permutation(labels)]


@pytest.mark.parametrize(
    "labels",
    [
        ["0"] * 50 + ["1"] * 50,
        ["1"] * 10 + ["0"] * 10,
        ["0"] * 400 + ["1"] * 10,
        ["0"] * 30 + ["1"] * 30 + ["2"] * 30 + ["0"] * 30,
        [str(patient % 2) for patient in range(20) for _ in range(40)],
    ],
)
def test_long_runs_of_a_class_are_said(warnings: list[str], labels: list[str]) -> None:
    watch(labels)
    (line,) = warnings
    assert f"sorted by class: in {len(labels)} samples the class changes" in line
    assert "ShuffleConfig" in line


@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["0"],
        ["0"] * 5 + ["1"] * 5,
        ["0"] * 500,
        ["0", "1"] * 50,
        mixed(["0"] * 50 + ["1"] * 50),
        mixed(["0"] * 950 + ["1"] * 50),
        mixed(["0"] * 20 + ["1"] * 20 + ["2"] * 20),
    ],
)
def test_a_mixed_order_is_not_said(warnings: list[str], labels: list[str]) -> None:
    watch(labels)
    assert warnings == []


def test_a_long_first_class_is_said_at_once_and_only_once(warnings: list[str]) -> None:
    count = EARLY_SAMPLES
    samples = [Sample(n, b"", b"1" if n >= count else b"0") for n in range(2 * count)]
    watched = watch_order(iter(samples), "train_0")
    for _ in range(count):
        next(watched)
    assert [line.split(":")[0] for line in warnings] == ["train_0 seems sorted by class"]
    assert len(list(watched)) == count
    assert len(warnings) == 1


def test_the_expected_changes_are_the_mean_over_all_orders() -> None:
    order = ClassOrder()
    for label in "aab":
        order.see(label)
    assert order.changes == 1
    # aab, aba, baa: 1, 2 and 1 changes.
    assert order.expected_changes == pytest.approx(4 / 3)
