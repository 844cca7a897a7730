"""The picture people look at first: accuracy on train and validation over the epochs."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.algorithm.metrics import EpochResult

CURVES_NAME = "accuracy.png"


def draw_accuracy(results: Sequence[EpochResult], best: EpochResult, path: Path) -> None:
    """Write a PNG with both curves; the epoch that is kept is marked."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    epochs = [result.epoch for result in results]
    marker = "o" if len(epochs) < 30 else ""
    axes.plot(epochs, [r.train.accuracy for r in results], marker=marker, label="training")
    axes.plot(epochs, [r.validation.accuracy for r in results], marker=marker, label="validation")
    axes.plot(
        best.epoch,
        best.validation.accuracy,
        linestyle="none",
        marker="o",
        markersize=12,
        markerfacecolor="none",
        color="black",
        label=f"kept: epoch {best.epoch}, {best.validation.accuracy:.3f}",
    )
    axes.set(title="Accuracy", xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
