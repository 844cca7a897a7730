"""Figures of answers on slices whose groups had no part in the training.

Slices lie in class folders of groups, `<class>/<group>/<file>`; intervals are by group.

    python -m benchmarks.accuracy score OUT            the results of a `tomodrop run`
    python -m benchmarks.accuracy trivial LEARN TEST   mean, spread and lit area of each slice
    python -m benchmarks.accuracy frozen LEARN TEST    the CT weights as they are, with a new head

The last two fit a logistic regression on LEARN and judge TEST. With `--cross-validate` they judge
LEARN instead, each slice by a fit that did not see its group, and TEST is not read.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tomodrop.imaging.normaliser import normalise
from training.algorithm.calibration import calibration_error
from training.algorithm.images import Pixels, Scaling, decode_image, stack_images
from training.algorithm.intervals import Statistic, area_under_roc, estimate, share
from training.algorithm.log import Progress, set_up_logging
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.probe import fit_head
from training.algorithm.weights import NUM_LAYERS, load_ct_weights

CLASSES = ("non_covid", "covid")
"""The last one is looked for."""
BATCH = 16
LIT = 60
"""Grey level above which a pixel counts as lit."""
SEED = 0

Describe = Callable[[list[Pixels]], torch.Tensor]
"""Slices (H, W, C) to features (N, F)."""


@dataclass(frozen=True)
class Slices:
    """Features (N, F) of slices, their classes (N) and their groups."""

    features: torch.Tensor
    labels: torch.Tensor
    groups: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Judged:
    """Probabilities of the classes (N, 2), the right ones (N), and the unit each slice is from."""

    probabilities: torch.Tensor
    labels: torch.Tensor
    units: npt.NDArray[np.str_]


def read_results(out: Path) -> Judged:
    """Read `predictions/<class>/<group>/<file>.json` of a run.

    Raises
    ------
    SystemExit
        There is none, or a file was rejected: that would be left out without a word.
    """
    rejected = sum(1 for _ in (out / "rejected").rglob("*.json"))
    paths = sorted((out / "predictions").rglob("*.json"))
    if rejected or not paths:
        raise SystemExit(f"{out} has {len(paths)} predictions and {rejected} rejections")
    answers, labels, units = [], [], []
    for path in paths:
        answer = json.loads(path.read_bytes())["prediction"]["probabilities"]
        answers.append([answer[name] for name in CLASSES])
        labels.append(CLASSES.index(path.parts[-3]))
        units.append("/".join(path.parts[-3:-1]))
    return Judged(torch.tensor(answers).double(), torch.tensor(labels), np.array(units))


def read_slices(root: Path, side_px: int, describe: Describe) -> Slices:
    """Normalise every slice below `root`, and describe it."""
    paths = [path for name in CLASSES for path in sorted((root / name).rglob("*.png"))]
    shape = (3, side_px, side_px)
    features, progress = [], Progress(str(root.name), len(paths), BATCH)
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        read = [decode_image(normalise(p.read_bytes(), shape)[0].png, shape) for p in batch]
        features.append(describe(read))
        progress.add(len(batch))
    labels = torch.tensor([CLASSES.index(path.parts[-3]) for path in paths])
    return Slices(torch.cat(features), labels, np.array([path.parts[-2] for path in paths]))


def trivial(slices: list[Pixels]) -> torch.Tensor:
    """Return the mean, the spread and the lit share of each slice: what no lesion changes much."""
    levels = stack_images(slices)[:, 0].flatten(1).float()
    return torch.stack([levels.mean(1), levels.std(1), (levels > LIT).float().mean(1)], dim=1)


def frozen(head_stages: int) -> Describe:
    """Return what gives the features that the head of a network from CT weights would see."""
    resnet = build_resnet(NUM_LAYERS, 3, len(CLASSES), head_stages)
    load_ct_weights(resnet)
    classifier = Classifier(
        resnet, trainable_stages=0, frozen_batch_norm=True, head_stages=head_stages
    ).eval()

    def describe(slices: list[Pixels]) -> torch.Tensor:
        with torch.inference_mode():
            return classifier.features(Scaling().to_input(stack_images(slices)))

    return describe


def judge(learn: Slices, test: Slices, c: float) -> torch.Tensor:
    """Return probabilities (N, 2) of the slices of `test` from a fit on `learn`."""
    head = fit_head(learn.features, learn.labels, len(CLASSES), c)
    return head.logits(test.features).double().softmax(1)


def cross_validate(slices: Slices, c: float) -> torch.Tensor:
    """Return probabilities (N, 2), each from a fit on the other groups."""
    probabilities = torch.empty(len(slices.labels), len(CLASSES), dtype=torch.float64)
    for group in sorted(set(slices.groups)):
        out = torch.from_numpy(slices.groups == group)
        probabilities[out] = judge(_part(slices, ~out), _part(slices, out), c)
    return probabilities


def _part(slices: Slices, of: torch.Tensor) -> Slices:
    return Slices(slices.features[of], slices.labels[of], slices.groups[of.numpy()])


def print_figures(judged: Judged) -> None:
    """Print a table of each figure with its 95 % interval: bootstrap by class and group."""
    answered, labels = judged.probabilities.argmax(1).numpy(), judged.labels.numpy()
    right, positive = (answered == labels).astype(float), labels == 1
    statistics: dict[str, Statistic] = {
        "accuracy": share(right),
        "AUC": area_under_roc(judged.probabilities[:, 1].numpy(), positive),
        "sensitivity": share(right, positive),
        "specificity": share(right, ~positive),
        "expected calibration error": calibration_error(judged.probabilities, judged.labels),
    }
    names, unit_of = np.unique(judged.units, return_inverse=True)
    print(f"{len(labels)} slices of {len(names)} groups ({positive.sum()} {CLASSES[1]})\n")
    print("| | value (95 % interval by group) |\n|---|---|")
    for name, found in estimate(statistics, unit_of, SEED).items():
        print(f"| {name} | {found} |")
    print("\nRight answers by group:")
    for number, name in enumerate(names):
        print(f"  {name} {right[unit_of == number].mean():.2f}")


def main(arguments: list[str]) -> int:
    """Print the figures of one set of answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("score", "trivial", "frozen"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=192, help="pixels")
    parser.add_argument("--head-stages", type=int, default=1, help="that the head sees")
    parser.add_argument("--c", type=float, default=0.001, help="inverse strength of the penalty")
    parser.add_argument("--cross-validate", action="store_true")
    chosen = parser.parse_args(arguments)
    set_up_logging()
    if chosen.what == "score":
        print_figures(read_results(chosen.folders[0]))
        return 0
    describe = trivial if chosen.what == "trivial" else frozen(chosen.head_stages)
    learn = test = read_slices(chosen.folders[0], chosen.side, describe)
    if chosen.cross_validate:
        probabilities = cross_validate(learn, chosen.c)
    else:
        test = read_slices(chosen.folders[1], chosen.side, describe)
        probabilities = judge(learn, test, chosen.c)
    units = np.char.add(np.char.add(np.array(CLASSES)[test.labels.numpy()], "/"), test.groups)
    print_figures(Judged(probabilities, test.labels, units))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
