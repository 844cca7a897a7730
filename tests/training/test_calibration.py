"""Probabilities that were right stay; those that were too sure, or shifted, are put right."""

import numpy as np
import pytest
import torch

from training.algorithm.answers import Answers
from training.algorithm.calibration import (
    calibrate,
    calibration_error,
    deal_folds,
    fit_calibration,
    reliability,
)
from training.algorithm.probabilities import Calibration


def synthetic(count: int = 4000, classes: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Logits, and labels drawn from what they say."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator) * 1.5
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


def error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    return float(calibration_error(probabilities, labels)(np.ones((1, len(labels))))[0])


def test_probabilities_are_those_of_the_contract() -> None:
    found = Calibration(2.0, (0.5, -0.5)).probabilities(torch.tensor([[4.0, 2.0]]))
    expected = torch.tensor([4 / 2 + 0.5, 2 / 2 - 0.5], dtype=torch.float64).softmax(0)
    assert found[0].tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("classes", [2, 4])
def test_what_is_calibrated_already_stays(classes: int) -> None:
    logits, labels = synthetic(classes=classes)
    fitted = fit_calibration(logits, labels, len(labels))
    assert fitted.temperature == pytest.approx(1, abs=0.07)
    assert fitted.bias == pytest.approx([0] * classes, abs=0.1)
    shipped = calibrate(Answers(logits, labels), 0)
    assert error(shipped.after, labels) == pytest.approx(error(shipped.before, labels), abs=0.01)


@pytest.mark.parametrize("classes", [2, 4])
def test_what_was_too_sure_is_cooled_and_its_error_falls(classes: int) -> None:
    logits, labels = synthetic(classes=classes)
    found = calibrate(Answers(logits * 3, labels), 0)
    assert found.calibration.temperature == pytest.approx(3, rel=0.07)
    assert error(found.before, labels) > 0.1
    assert error(found.after, labels) < 0.03


def test_a_threshold_that_was_off_is_put_right() -> None:
    logits, labels = synthetic()
    found = calibrate(Answers(logits + torch.tensor([1.5, 0.0]), labels), 0)
    assert found.calibration.bias == pytest.approx((-0.75, 0.75), abs=0.08)
    assert sum(found.calibration.bias) == pytest.approx(0, abs=1e-12)
    right = [(each.argmax(1) == labels).float().mean() for each in (found.before, found.after)]
    assert right[1] > right[0] + 0.03


def test_few_groups_that_all_are_right_do_not_make_it_sure() -> None:
    logits = torch.tensor([[4.0, -4.0], [-4.0, 4.0]]).repeat(100, 1)
    labels = torch.tensor([0, 1]).repeat(100)
    assert fit_calibration(logits, labels, units=2).temperature > 0.9


def test_one_class_does_not_send_the_bias_to_infinity() -> None:
    fitted = fit_calibration(torch.zeros(50, 2), torch.ones(50, dtype=torch.long), units=3)
    # The minimum of log(1 + exp(-2b)) + b² / 3 over b, at b = 3 / (1 + exp(2b)).
    b = fitted.bias[1]
    assert b == pytest.approx(3 / (1 + np.exp(2 * b)), abs=1e-4)


def test_what_helps_no_left_out_group_is_not_shipped() -> None:
    # Each group is wrong in a way of its own, so that a fit on one harms the other.
    logits = torch.zeros(80, 2)
    labels = torch.tensor([0] * 40 + [1] * 40)
    found = calibrate(Answers(logits, labels, ("a",) * 40 + ("b",) * 40), 0)
    assert found.calibration == Calibration(1.0, (0.0, 0.0))
    assert torch.equal(found.before, found.after)


def test_left_out_groups_see_no_fit_of_their_own() -> None:
    logits, labels = synthetic(600)
    groups = tuple(f"g{number % 6}" for number in range(600))
    answers = Answers(logits * 3, labels, groups)
    found = calibrate(answers, 0)
    folds = torch.from_numpy(deal_folds(answers.unit_of, labels.numpy(), 0))
    for fold in range(5):
        rest, units = folds != fold, len({int(u) for u in answers.unit_of[folds != fold]})
        fitted = fit_calibration((logits * 3)[rest], labels[rest], units)
        expected = fitted.probabilities((logits * 3)[~rest])
        assert np.allclose(found.after[~rest], expected, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hardly_any_samples_are_no_problem(count: int) -> None:
    logits, labels = synthetic(count)
    found = calibrate(Answers(logits, labels), 0)
    assert bool(found.after.isfinite().all())


def test_a_network_that_has_diverged_is_left_as_it_is() -> None:
    logits = torch.full((20, 2), float("nan"))
    found = calibrate(Answers(logits, torch.arange(20) % 2), 0)
    assert found.calibration == Calibration(1.0, (0.0, 0.0))


def test_folds_hold_whole_groups_and_spread_the_classes() -> None:
    groups = np.repeat(np.arange(20), 3)
    labels = np.repeat(np.arange(20) % 2, 3)
    folds = deal_folds(groups, labels, seed=1)
    for group in range(20):
        assert len(set(folds[groups == group])) == 1
    for fold in range(5):
        assert sorted(set(labels[folds == fold])) == [0, 1]
        assert len(set(groups[folds == fold])) == 4
    assert set(deal_folds(np.repeat([0, 1, 2], 4), np.zeros(12, int), seed=1)) == {0, 1, 2}


def test_the_error_by_hand() -> None:
    # Of ten answers at 0.95, eight are right; of ten at 0.65, seven: (10·0.15 + 10·0.05) / 20.
    second = torch.tensor([0.95] * 10 + [0.65] * 10, dtype=torch.float64)
    probabilities = torch.stack([1 - second, second], dim=1)
    labels = torch.tensor([1] * 8 + [0] * 2 + [1] * 7 + [0] * 3)
    assert error(probabilities, labels) == pytest.approx(0.1)
    bins = reliability(probabilities, labels)
    assert bins.samples.nonzero().flatten().tolist() == [9, 14]
    assert bins.right[[9, 14]].tolist() == pytest.approx([0.7, 0.8])
    assert bins.confidence[[9, 14]].tolist() == pytest.approx([0.65, 0.95])


@pytest.mark.parametrize(("confidence", "bin_of"), [(1.0, 14), (0.8, 11), (0.8001, 12), (0.5, 7)])
def test_bins_hold_their_upper_end(confidence: float, bin_of: int) -> None:
    probabilities = torch.tensor([[1 - confidence, confidence]], dtype=torch.float64)
    bins = reliability(probabilities, torch.tensor([1]))
    assert int(bins.samples.argmax()) == bin_of


def test_weights_of_the_error_are_repeated_samples() -> None:
    logits, labels = synthetic(200)
    probabilities = (logits * 2).double().softmax(1)
    weights = np.random.default_rng(0).integers(3, size=200)
    drawn = np.repeat(np.arange(200), weights)
    weighted = calibration_error(probabilities, labels)(weights[None].astype(np.float64))[0]
    assert weighted == pytest.approx(error(probabilities[drawn], labels[drawn]))
