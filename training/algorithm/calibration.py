"""Probabilities that mean what they say: a temperature, and a bias for each class.

``softmax(logits / temperature + bias)``. The temperature alone is Guo et al. 2017, "On calibration
of modern neural networks"; the biases move the threshold between classes as well. Both are fitted
on the validation samples, and what they are worth is measured on groups that each fit left out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.algorithm.answers import Answers
from training.algorithm.intervals import Floats, Statistic
from training.algorithm.probabilities import Calibration

FOLDS = 5
BINS = 15
_MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The calibration to ship, and probabilities (N, classes) of the samples it was fitted on.

    Those ``after`` are honest: each sample's come from a fit that left its group out.
    """

    calibration: Calibration
    before: torch.Tensor
    after: torch.Tensor


def calibrate(answers: Answers, seed: int) -> Calibrated:
    """Fit on all samples; nothing is changed unless left-out groups say that it helps.

    It helps when it lowers the mean negative log-likelihood of samples whose groups had no part in
    the fit (up to five folds of whole groups, or of samples where there are no groups).
    """
    logits, labels = answers.logits.double(), answers.labels
    as_learned = _identity(logits.shape[1])
    before = _probabilities(as_learned, logits)
    unit_of = answers.unit_of
    if unit_of.max() == 0:
        return Calibrated(as_learned, before, before)
    after = torch.empty_like(before)
    fold_of = torch.from_numpy(deal_folds(unit_of, labels.numpy(), seed))
    for fold in range(int(fold_of.max()) + 1):
        left_out = fold_of == fold
        units = len(np.unique(unit_of[~left_out.numpy()]))
        fitted = fit_calibration(logits[~left_out], labels[~left_out], units)
        after[left_out] = _probabilities(fitted, logits[left_out])
    if not _loss(after, labels) < _loss(before, labels):
        return Calibrated(as_learned, before, before)
    return Calibrated(fit_calibration(logits, labels, int(unit_of.max()) + 1), before, after)


def fit_calibration(logits: torch.Tensor, labels: torch.Tensor, units: int) -> Calibration:
    """Minimise mean negative log-likelihood + (log(temperature)² + |bias|²) / (2 units).

    The penalty is a standard normal prior on each, beside one observation per unit (group): few
    groups, or groups that all are right, do not send the values to infinity.
    """
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [log_temperature, bias],
        max_iter=_MAX_STEPS,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def objective() -> torch.Tensor:
        search.zero_grad()
        scores = logits / log_temperature.exp() + bias
        penalty = (log_temperature.square() + bias.square().sum()) / (2 * units)
        total = functional.cross_entropy(scores, labels) + penalty
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return total

    search.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    found = bias.detach() - bias.detach().mean()
    return Calibration(float(log_temperature.detach().exp()), tuple(found.tolist()))


def deal_folds(
    unit_of: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold (N) of each sample, from 0; whole units, their classes spread evenly."""
    units = int(unit_of.max()) + 1
    counts = np.zeros((units, int(labels.max()) + 1))
    np.add.at(counts, (unit_of, labels), 1)
    mixed = np.random.default_rng(seed).permutation(units)
    by_class = mixed[np.argsort(counts.argmax(1)[mixed], kind="stable")]
    folds = np.empty(units, np.int64)
    folds[by_class] = np.arange(units) % min(FOLDS, units)
    return folds[unit_of]


def calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> Statistic:
    """Return the expected calibration error of what is answered (Guo et al. 2017, equation 3).

    In 15 bins of equal width (low, high], the distance between mean confidence and the share of
    right answers, weighted by the samples of the bin. Chance adds to each distance, and in
    resamples twice: an interval of it lies high.
    """
    confidence, right, bin_of = _answered(probabilities, labels)
    apart = np.zeros((len(labels), BINS))
    apart[np.arange(len(labels)), bin_of.numpy()] = (right - confidence).numpy()

    def of(weights: Floats) -> Floats:
        total: Floats = np.abs(weights @ apart).sum(axis=1) / weights.sum(axis=1)
        return total

    return of


@dataclass(frozen=True, slots=True)
class Bins:
    """Of each of 15 bins: how many samples, their mean confidence, the share of right answers."""

    samples: torch.Tensor
    confidence: torch.Tensor
    right: torch.Tensor


def reliability(probabilities: torch.Tensor, labels: torch.Tensor) -> Bins:
    """Put samples into bins by the probability of the class that is answered."""
    confidence, right, bin_of = _answered(probabilities, labels)
    sums = torch.zeros(3, BINS, dtype=torch.float64)
    for row, values in enumerate((torch.ones_like(confidence), confidence, right)):
        sums[row].index_add_(0, bin_of, values)
    return Bins(sums[0], sums[1] / sums[0].clamp_min(1), sums[2] / sums[0].clamp_min(1))


def _answered(
    probabilities: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return of each sample the confidence, whether it is right (0 or 1), and its bin."""
    confidence, answer = probabilities.double().max(1)
    bin_of = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    return confidence, (answer == labels).double(), bin_of


def _probabilities(calibration: Calibration, logits: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(calibration.probabilities(logits.numpy()))


def _identity(classes: int) -> Calibration:
    return Calibration(1.0, (0.0,) * classes)


def _loss(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    return float(functional.nll_loss(probabilities.clamp_min(1e-300).log(), labels))
