"""Values by hand, and what an interval is for: to hold the true value as often as it says."""

import time

import numpy as np
import pytest

from training.algorithm.intervals import (
    Estimate,
    Statistic,
    area_under_roc,
    estimate,
    mean_of,
    share,
)


def bits(*values: int) -> np.ndarray:
    return np.array(values, bool)


def value(statistic: Statistic, *weights: float) -> float:
    return float(statistic(np.array([weights]))[0])


def test_a_share_is_a_weighted_mean_of_those_that_count() -> None:
    right = np.array([1.0, 0.0, 1.0, 0.5])
    assert value(share(right), 1, 1, 1, 1) == 0.625
    assert value(share(right), 2, 1, 0, 0) == pytest.approx(2 / 3)
    assert value(share(right, among=bits(0, 1, 1, 0)), 5, 3, 1, 9) == 0.25
    assert np.isnan(value(share(right, among=bits(0, 1, 1, 0)), 5, 0, 0, 9))


@pytest.mark.parametrize(
    ("scores", "weights", "area"),
    [
        ([0.1, 0.4, 0.35, 0.8], [1, 1, 1, 1], 0.75),
        ([0.1, 0.4, 0.4, 0.8], [1, 1, 1, 1], 0.875),
        # Pairs: (0.35, 0.1) twice right, (0.35, 0.4) six times wrong; (0.8, any) 4 times right.
        ([0.1, 0.4, 0.35, 0.8], [1, 3, 2, 1], 6 / 12),
        ([0.5, 0.5, 0.5, 0.5], [1, 7, 2, 3], 0.5),
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 1, 1], 0.0),
    ],
)
def test_an_area_counts_pairs_as_often_as_they_are_drawn(
    scores: list[float], weights: list[int], area: float
) -> None:
    statistic = area_under_roc(np.array(scores), bits(0, 0, 1, 1))
    assert value(statistic, *weights) == pytest.approx(area)


@pytest.mark.parametrize("weights", [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
def test_an_area_without_one_of_the_sides_is_not_defined(weights: list[int]) -> None:
    statistic = area_under_roc(np.array([0.1, 0.4, 0.35, 0.8]), bits(0, 0, 1, 1))
    assert np.isnan(value(statistic, *weights))
    known = share(np.ones(4))
    assert np.isnan(value(mean_of([statistic, known]), *weights))


def test_an_area_with_weights_is_that_of_repeated_samples() -> None:
    random = np.random.default_rng(3)
    scores, positive = random.integers(6, size=40) / 6, random.random(40) < 0.4
    weights = random.integers(4, size=40)
    drawn = np.repeat(np.arange(40), weights)
    repeated = area_under_roc(scores[drawn], positive[drawn])
    assert value(area_under_roc(scores, positive), *weights) == pytest.approx(
        value(repeated, *np.ones(len(drawn)))
    )


def test_two_groups_are_drawn_in_three_ways() -> None:
    # Group 0 is all right, group 1 all wrong: a quarter of the resamples is all right, a quarter
    # all wrong, whatever the number of slices.
    right, groups = np.array([1.0] * 50 + [0.0] * 50), np.repeat([0, 1], 50)
    assert estimate({"a": share(right)}, groups, 0)["a"] == Estimate(0.5, 0.0, 1.0)
    by_sample = estimate({"a": share(right)}, np.arange(100), 0)["a"]
    assert by_sample is not None
    assert by_sample.low is not None
    assert by_sample.high is not None
    assert 0.35 < by_sample.low < 0.45
    assert 0.55 < by_sample.high < 0.65


@pytest.mark.parametrize(("right", "low", "high"), [(1.0, 0.4782, 1.0), (0.0, 0.0, 0.5218)])
def test_all_right_is_not_taken_for_certain(right: float, low: float, high: float) -> None:
    # Clopper and Pearson's interval for five of five, or none of five: 0.025 to the power of 1/5.
    groups = np.repeat(np.arange(6), 100)
    found = estimate({"a": share(np.full(600, right), among=groups > 0)}, groups, 0)["a"]
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((right, low, high), abs=1e-4)


def test_what_is_not_defined_has_no_figure_or_no_interval() -> None:
    right, groups = np.array([1.0, 0.0, 1.0, 1.0]), np.arange(4)
    of_none = share(right, among=np.zeros(4, bool))
    # One of four: drawn at least once in 1 - (3/4)^4 = 68 % of the resamples.
    of_one = share(right, among=bits(1, 0, 0, 0))
    found = estimate({"none": of_none, "one": of_one}, groups, 0)
    assert found["none"] is None
    assert found["one"] is not None
    assert found["one"].as_json() == {"value": 1.0, "low": pytest.approx(0.025), "high": 1.0}
    # The only group of its class among two, whose AUC needs both: half of the resamples have it.
    apart = area_under_roc(np.array([0.1, 0.9]), bits(0, 1))
    many = np.array([0] * 9 + [1])
    rare = (
        estimate({"auc": apart}, np.arange(2), 0),
        estimate({"auc": area_under_roc(many * 1.0, many == 1)}, many, 0),
    )
    for each in rare:
        assert each["auc"] is not None
        assert each["auc"].value == 1.0


def test_an_interval_with_too_few_defined_resamples_is_left_out() -> None:
    def seldom(weights: np.ndarray) -> np.ndarray:
        everything = (weights == 1).all(axis=1)
        return np.where(everything, 0.7, np.nan)

    assert estimate({"a": seldom}, np.arange(9), 0) == {"a": Estimate(0.7, None, None)}
    assert str(Estimate(0.7, None, None)) == "0.700"


def test_a_seed_makes_the_interval() -> None:
    right = (np.random.default_rng(0).random(60) < 0.8).astype(np.float64)
    one, same, other = (estimate({"a": share(right)}, np.arange(60), seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def clustered(random: np.random.Generator, groups: int, size: int) -> np.ndarray:
    """Rightness of slices whose groups differ: in the mean, 0.8 are right."""
    skill = random.beta(4, 1, size=groups)
    return (random.random((groups, size)) < skill[:, None]).ravel().astype(np.float64)


def test_by_group_the_true_value_is_inside_as_often_as_said_and_by_sample_is_not() -> None:
    random = np.random.default_rng(5)
    groups, size, repetitions = 80, 20, 120
    inside = {"group": 0, "sample": 0}
    widths = {"group": 0.0, "sample": 0.0}
    for seed in range(repetitions):
        right = clustered(random, groups, size)
        for unit, unit_of in (
            ("group", np.repeat(np.arange(groups), size)),
            ("sample", np.arange(groups * size)),
        ):
            found = estimate({"a": share(right)}, unit_of, seed, resamples=400)["a"]
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            inside[unit] += found.low <= 0.8 <= found.high
            widths[unit] += found.high - found.low
    assert inside["group"] / repetitions >= 0.9
    assert inside["sample"] / repetitions <= 0.75
    assert widths["sample"] < 0.6 * widths["group"]


@pytest.mark.parametrize("units", [20_000, 300])
def test_twenty_thousand_samples_take_seconds(units: int) -> None:
    random = np.random.default_rng(0)
    positive = random.random(20_000) < 0.4
    scores = random.normal(size=20_000) + positive
    _, unit_of = np.unique(random.permutation(20_000) % units, return_inverse=True)
    started = time.process_time()
    found = estimate({"auc": area_under_roc(scores, positive)}, unit_of, 0)["auc"]
    assert time.process_time() - started < 3
    assert found is not None
    assert found.low is not None
    assert found.low < found.value
