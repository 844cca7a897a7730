"""What the shipped model is worth: figures on all validation samples, each with its interval.

They are those of the answers that it gives, calibrated, where each sample's calibration was fitted
without its group. The epoch was chosen on the same samples, which flatters a little: a figure to
rely on comes from groups that had no part in the training at all.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.algorithm.answers import BY_GROUP, Answers
from training.algorithm.calibration import Calibrated, calibrate, calibration_error
from training.algorithm.intervals import (
    LEVEL,
    RESAMPLES,
    Estimate,
    Floats,
    Statistic,
    area_under_roc,
    estimate,
    mean_of,
    share,
)

Flags = npt.NDArray[np.bool_]
SENSITIVITY, SPECIFICITY = "sensitivity", "specificity"
_OF = " of "


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``figures`` by name, and ``raw`` those without calibration; no calibration with multi_label.

    Of each sample (N, classes): ``scores`` as learned, by which it is ranked; whether it is of a
    class; whether that was answered. Of two classes the last is the positive one, and sensitivity
    and specificity are of it; of more, and with multi_label, each has "sensitivity of <class>".
    """

    answers: Answers
    classes: tuple[str, ...]
    scores: Floats
    is_class: Flags
    answered: Flags
    units: int
    figures: dict[str, Estimate | None]
    raw: dict[str, Estimate | None]
    calibrated: Calibrated | None

    @property
    def positive(self) -> str | None:
        """The class whose presence is looked for, where there are two."""
        two = len(self.classes) == 2 and not self.answers.multi_label
        return self.classes[-1] if two else None

    @property
    def method(self) -> str:
        """How the intervals were made."""
        unit = self.answers.unit
        return (
            f"{LEVEL:.0%} percentile bootstrap by {unit}, {RESAMPLES} resamples; of a share of 0 "
            f"or 1 Clopper-Pearson, a {unit} being an observation"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the part ``shipped`` of the metrics in ``model.json``."""
        return {
            "samples": len(self.answers.labels),
            "unit": self.answers.unit,
            "units": self.units,
            "interval": self.method,
            "positive": self.positive,
            **_as_json(self.figures),
            "uncalibrated": _as_json(self.raw),
        }

    def calibration_json(self) -> dict[str, Any] | None:
        """Return ``calibration`` of ``model.json``: probabilities = softmax(logits / T + b)."""
        if self.calibrated is None:
            return None
        before, after = self.raw["ece"], self.figures["ece"]
        return {
            "temperature": self.calibrated.calibration.temperature,
            "bias": list(self.calibrated.calibration.bias),
            "fitted_on": len(self.answers.labels),
            "ece_before": before and before.value,
            "ece_after": after and after.value,
        }


def evaluate_answers(answers: Answers, classes: tuple[str, ...], seed: int) -> Evaluation:
    """Judge the answers to all validation samples; calibration and intervals draw from ``seed``."""
    calibrated = None if answers.multi_label else calibrate(answers, seed)
    is_class = _is_class(answers, len(classes))
    answered = raw = answers.logits.numpy() > 0
    if calibrated:
        answered = _one_of(calibrated.after.argmax(1).numpy(), len(classes))
        raw = _one_of(calibrated.before.argmax(1).numpy(), len(classes))
    # Ranked by what was learned: scores of several fits, one per fold, have no common order.
    scores = (calibrated.before if calibrated else answers.logits.double()).numpy()
    statistics = {"auc": _area(scores, is_class, multi_label=answers.multi_label)}
    statistics |= _statistics(answered, is_class, classes, multi_label=answers.multi_label)
    before = _statistics(raw, is_class, classes, multi_label=answers.multi_label)
    if calibrated:
        statistics["ece"] = calibration_error(calibrated.after, answers.labels)
        before["ece"] = calibration_error(calibrated.before, answers.labels)
    prefixed = {f"raw {name}": statistic for name, statistic in before.items()}
    unit_of = answers.unit_of
    found = estimate(statistics | prefixed, unit_of, seed)
    return Evaluation(
        answers,
        classes,
        scores,
        is_class,
        answered,
        units=int(unit_of.max()) + 1,
        figures={name: found[name] for name in statistics},
        raw={name: found[f"raw {name}"] for name in before},
        calibrated=calibrated,
    )


def describe(evaluation: Evaluation) -> str:
    """Return a sentence for people."""
    figures = ", ".join(f"{n} {e}" for n, e in evaluation.figures.items() if e is not None)
    unit = evaluation.answers.unit
    doubt = "" if unit == BY_GROUP else ", none of them known to be of the same patient"
    of = f" of {evaluation.positive!r}" if evaluation.positive else ""
    return (
        f"Shipped{of}, with {LEVEL:.0%} interval by {unit} ({evaluation.units}{doubt}): {figures}"
    )


def metric_line(evaluation: Evaluation, epoch: int) -> str:
    """Return the line that metric definitions read; what is not defined is left out."""
    parts = [
        f"shipped-{name}={each.value:.6f}"
        for name, each in evaluation.figures.items()
        if each is not None and _OF not in name
    ]
    return " ".join([f"Shipped epoch={epoch}", *parts])


def _statistics(
    answered: Flags, is_class: Flags, classes: tuple[str, ...], *, multi_label: bool
) -> dict[str, Statistic]:
    right = answered == is_class
    all_right = right.mean(axis=1) if multi_label else right.all(axis=1) * 1.0
    statistics: dict[str, Statistic] = {"accuracy": share(all_right)}
    names = {index: f"{_OF}{name}" for index, name in enumerate(classes)}
    if len(classes) == 2 and not multi_label:
        names = {1: ""}
    for index, suffix in names.items():
        is_it, rightly = is_class[:, index], right[:, index] * 1.0
        statistics[SENSITIVITY + suffix] = share(rightly, among=is_it)
        statistics[SPECIFICITY + suffix] = share(rightly, among=~is_it)
    return statistics


def _area(scores: Floats, is_class: Flags, *, multi_label: bool) -> Statistic:
    if scores.shape[1] == 2 and not multi_label:
        return area_under_roc(scores[:, 1], is_class[:, 1])  # that of the other class is the same
    return mean_of([area_under_roc(*pair) for pair in zip(scores.T, is_class.T, strict=True)])


def _is_class(answers: Answers, classes: int) -> Flags:
    labels = answers.labels.numpy()
    return labels > 0.5 if answers.multi_label else _one_of(labels, classes)


def _one_of(indices: npt.NDArray[np.int64], classes: int) -> Flags:
    flags: Flags = indices[:, None] == np.arange(classes)
    return flags


def _as_json(figures: dict[str, Estimate | None]) -> dict[str, Any]:
    """Return those of a class below ``per_class``, the others at the top."""
    content: dict[str, Any] = {}
    for name, each in figures.items():
        figure, _, of_class = name.partition(_OF)
        place = content
        if of_class:
            place = content.setdefault("per_class", {}).setdefault(of_class, {})
        place[figure] = each.as_json() if each else None
    return content
