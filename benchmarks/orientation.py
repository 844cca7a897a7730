"""Which way up do the CT weights want a slice? Frozen features in all eight orientations.

The images are turned, the kernels stay as `training.algorithm.weights` leaves them: for features
that are averaged over the picture, turning one or the other is the same up to the borders. Each
orientation is measured twice:

- by labels: the probe's logistic regression; each slice is judged by one that did not see its
  block;
- without labels: how far the channels' means lie from those that the batch-norms learnt, in the
  standard deviations that they learnt. What the network is used to lies closest.

Usage, with the set in class folders of blocks:

    python benchmarks/orientation.py ../shared/ct/sars-cov-2-ct
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tomodrop.imaging.normaliser import normalise
from training.algorithm.images import Scaling, decode_image, stack_images
from training.algorithm.metrics import score
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.probe import fit_head
from training.algorithm.weights import NUM_LAYERS, load_ct_weights

CLASSES = ("non_covid", "covid")
BLOCKS = range(7, 20)
C = 0.001
BATCH = 16
DRAWS = 2000

Turn = Callable[[torch.Tensor], torch.Tensor]
ORIENTATIONS: dict[str, Turn] = {
    "as displayed": lambda images: images,
    "turned by 90° to the left": lambda images: images.rot90(1, (2, 3)),
    "upside down (180°)": lambda images: images.rot90(2, (2, 3)),
    "turned by 90° to the right": lambda images: images.rot90(3, (2, 3)),
    "left and right swapped": lambda images: images.flip(3),
    "front and back swapped": lambda images: images.flip(2),
    "transposed": lambda images: images.transpose(2, 3),
    "transposed along the other diagonal": lambda images: images.rot90(2, (2, 3)).transpose(2, 3),
}
"""How a displayed slice is shown to the network; images are (N, C, H, W)."""


@dataclass(frozen=True)
class Slices:
    """Normalised slices (N, C, H, W; uint8), their classes and the blocks they are from."""

    images: torch.Tensor
    labels: torch.Tensor
    blocks: torch.Tensor


def read_slices(root: Path, side_px: int, per_block: int) -> Slices:
    """Take `per_block` slices from each class and block, evenly spaced in scan order."""
    images, labels, blocks = [], [], []
    for block in BLOCKS:
        for label, name in enumerate(CLASSES):
            for path in _spread(sorted((root / name / f"block{block:02d}").iterdir()), per_block):
                shape = (3, side_px, side_px)
                images.append(decode_image(normalise(path.read_bytes(), shape)[0].png, shape))
                labels.append(label)
                blocks.append(block)
    return Slices(stack_images(images), torch.tensor(labels), torch.tensor(blocks))


def _spread(paths: list[Path], count: int) -> Iterator[Path]:
    for place in np.linspace(0, len(paths) - 1, count).round().astype(int):
        yield paths[place]


@dataclass(frozen=True)
class Seen:
    """One orientation: features (N, F), and channel means (blocks, channels of all batch-norms)."""

    features: torch.Tensor
    shifts: torch.Tensor


def look(classifier: Classifier, slices: Slices, turn: Turn) -> Seen:
    """Show every slice once."""
    norms = [m for m in classifier.resnet.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = [torch.zeros(len(BLOCKS), norm.num_features) for norm in norms]
    features, scaling = [], Scaling()
    for number, block in enumerate(BLOCKS):
        hooks = [
            norm.register_forward_pre_hook(_adding(into[number]))
            for norm, into in zip(norms, sums, strict=True)
        ]
        images = slices.images[slices.blocks == block]
        with torch.inference_mode():
            features += [
                classifier.features(scaling.to_input(turn(images[start : start + BATCH])))
                for start in range(0, len(images), BATCH)
            ]
        for hook in hooks:
            hook.remove()
        for into in sums:
            into[number] /= len(images)
    shifts = []
    for mean, norm in zip(sums, norms, strict=True):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        shifts.append((mean - norm.running_mean) / norm.running_var.sqrt())
    return Seen(torch.cat(features), torch.cat(shifts, dim=1))


def _adding(into: torch.Tensor) -> Callable[[nn.Module, tuple[torch.Tensor]], None]:
    def add(_norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        into.add_(inputs[0].mean(dim=(2, 3)).sum(0))

    return add


def distance(shifts: torch.Tensor) -> float:
    """Return the mean size of the channels' shifts, averaged over blocks first."""
    return float(shifts.mean(0).abs().mean())


def held_out_logits(features: torch.Tensor, slices: Slices) -> torch.Tensor:
    """Return scores (N, classes), each of a head that did not see the slice's block."""
    logits = torch.zeros(len(features), len(CLASSES))
    for block in BLOCKS:
        out = slices.blocks == block
        head = fit_head(features[~out], slices.labels[~out], len(CLASSES), C)
        logits[out] = head.logits(features[out])
    return logits


def measures(seen: Seen, logits: torch.Tensor, slices: Slices, drawn: list[int]) -> list[float]:
    """Return accuracy, AUC and distance on these blocks, as often as each is drawn."""
    chosen = torch.cat([torch.nonzero(slices.blocks == BLOCKS[n])[:, 0] for n in drawn])
    scores = score(logits[chosen], slices.labels[chosen])
    assert scores.auc is not None
    return [scores.accuracy, scores.auc, distance(seen.shifts[drawn])]


def main(arguments: list[str]) -> int:
    """Print one row of a table for each orientation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of <class>/block<NN>/*.png")
    parser.add_argument("--side", type=int, default=160, help="pixels")
    parser.add_argument("--per-block", type=int, default=12, help="slices of a class and block")
    chosen = parser.parse_args(arguments)
    slices = read_slices(chosen.root, chosen.side, chosen.per_block)
    resnet = build_resnet(NUM_LAYERS, channels=3, num_classes=len(CLASSES))
    load_ct_weights(resnet)
    classifier = Classifier(resnet, trainable_stages=0, frozen_batch_norm=True).eval()
    seen = {}
    for name, turn in ORIENTATIONS.items():
        started = time.monotonic()
        seen[name] = look(classifier, slices, turn)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    print(f"{len(slices.labels)} slices of {len(BLOCKS)} blocks, {chosen.side} px, C={C}")
    _print_table(seen, slices)
    return 0


def _print_table(seen: dict[str, Seen], slices: Slices) -> None:
    """Each measure, and its difference to the first orientation's: bootstrap over blocks."""
    random = np.random.default_rng(0)
    count = len(BLOCKS)
    draws = [list(random.integers(count, size=count)) for _ in range(DRAWS)]
    base: list[list[float]] = []
    print("| shown | accuracy | AUC | distance | less accuracy | less AUC | more distance |")
    print("|---|---|---|---|---|---|---|")
    for name, one in seen.items():
        logits = held_out_logits(one.features, slices)
        whole = measures(one, logits, slices, list(range(count)))
        drawn = [measures(one, logits, slices, draw) for draw in draws]
        base = base or drawn
        less = (np.array(base) - np.array(drawn)) * (1, 1, -1)
        bounds = np.percentile(less, (2.5, 97.5), axis=0).T
        shown = [f"{value:.3f}" for value in whole]
        shown += [f"{low:+.3f} to {high:+.3f}" for low, high in bounds]
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
