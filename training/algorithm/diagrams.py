"""Pictures of what the shipped model is worth: ROC, reliability, confusion matrix."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.algorithm.calibration import Bins, Calibrated, reliability
from training.algorithm.evaluation import Evaluation
from training.algorithm.intervals import LEVEL, Estimate, Floats

ROC_NAME = "roc.png"
RELIABILITY_NAME = "reliability.png"
CONFUSION_NAME = "confusion.png"
_MOST_CURVES = 10
"""Matplotlib has as many colours; of more classes, the first are drawn."""
_MOST_NUMBERS = 20
"""Classes up to which a number fits into each cell."""


def draw_diagrams(evaluation: Evaluation, folder: Path) -> None:
    """Write the PNGs that there are figures for: with multi_label, only the ROC."""
    _draw_roc(evaluation, folder / ROC_NAME)
    if evaluation.calibrated:
        _draw_reliability(evaluation, evaluation.calibrated, folder / RELIABILITY_NAME)
        _draw_confusion(evaluation, folder / CONFUSION_NAME)


def roc_points(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return false and true positive rates for every threshold, both from 0 to 1.

    Equal scores change sides together. Both classes must have a sample.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, np.True_)
    true = np.cumsum(positive[order])[last_of_equals]
    false = np.cumsum(~positive[order])[last_of_equals]
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def _draw_roc(evaluation: Evaluation, path: Path) -> None:
    figure, axes = _square()
    scores, is_class = evaluation.scores, evaluation.is_class
    names = dict(enumerate(evaluation.classes))
    if evaluation.positive:
        del names[0]
    for index, name in list(names.items())[:_MOST_CURVES]:
        positive = is_class[:, index]
        if positive.any() and not positive.all():
            axes.plot(*roc_points(scores[:, index], positive), label=_plain(name))
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    area = evaluation.figures["auc"]
    what = "AUC" if len(names) == 1 else "mean AUC"
    title = f"{what} {_titled(area, evaluation)}" if area else "A class has no sample, or all"
    axes.set(title=title, xlabel="1 - specificity", ylabel="sensitivity")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def _draw_reliability(evaluation: Evaluation, calibrated: Calibrated, path: Path) -> None:
    figure, axes = _square()
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    labels = evaluation.answers.labels
    sides = (
        ("as learned", calibrated.before, evaluation.raw["ece"]),
        (
            f"calibrated on other {evaluation.answers.unit}s",
            calibrated.after,
            evaluation.figures["ece"],
        ),
    )
    for name, probabilities, error in sides:
        found = f", ECE {error.value:.3f}" if error else ""
        _plot_bins(axes, reliability(probabilities, labels), name + found)
    axes.set(title="Reliability", xlabel="probability of the answer", ylabel="share of right ones")
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=120)


def _plot_bins(axes: Axes, bins: Bins, label: str) -> None:
    """Mark each bin with samples, by a dot whose area is their share."""
    there = bins.samples > 0
    confidence, right = bins.confidence[there].numpy(), bins.right[there].numpy()
    shares = (bins.samples[there] / bins.samples.sum()).numpy()
    (line,) = axes.plot(confidence, right, label=label)
    axes.scatter(confidence, right, s=20 + 400 * shares, color=line.get_color(), alpha=0.5)


def _draw_confusion(evaluation: Evaluation, path: Path) -> None:
    figure, axes = _square()
    # Rows: what it is; columns: what was answered.
    counts = evaluation.is_class.T.astype(int) @ evaluation.answered.astype(int)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(counts))
    if len(counts) <= _MOST_NUMBERS:
        names = [_plain(name) for name in evaluation.classes]
        axes.set_xticks(ticks, names, rotation=45, ha="right")
        axes.set_yticks(ticks, names)
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour)
    title = f"accuracy {_titled(evaluation.figures['accuracy'], evaluation)}"
    axes.set(title=title, xlabel="answered", ylabel="is")
    axes.grid(visible=False)
    figure.savefig(path, dpi=120)


def _titled(value: Estimate | None, evaluation: Evaluation) -> str:
    return f"{value}, {LEVEL:.0%} interval by {evaluation.answers.unit}"


def _plain(name: str) -> str:
    """Keep matplotlib from reading a formula into a class's name."""
    return name.replace("$", r"\$")


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes
