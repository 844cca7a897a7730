"""Which way up do the CT weights want a slice? Frozen features in all eight orientations.

The images are turned, the kernels stay as `training.algorithm.weights` leaves them: for features
that are averaged over the picture, turning one or the other is the same up to the borders. Each
orientation gets the logistic regression of the probe, and every slice is judged by the one that
did not see its block. Usage, with the set in class folders of blocks:

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

ORIENTATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
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


def features_of(classifier: Classifier, images: torch.Tensor) -> torch.Tensor:
    """Return (N, features)."""
    scaling = Scaling()
    with torch.inference_mode():
        return torch.cat(
            [classifier.features(scaling.to_input(batch)) for batch in images.split(BATCH)]
        )


def held_out_logits(features: torch.Tensor, slices: Slices) -> torch.Tensor:
    """Return scores (N, classes), each of a head that did not see the slice's block."""
    logits = torch.zeros(len(features), len(CLASSES))
    for block in BLOCKS:
        out = slices.blocks == block
        head = fit_head(features[~out], slices.labels[~out], len(CLASSES), C)
        logits[out] = head.logits(features[out])
    return logits


def measures(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return accuracy and AUC."""
    scores = score(logits, labels)
    assert scores.auc is not None
    return scores.accuracy, scores.auc


def draws_of_blocks(slices: Slices) -> Iterator[torch.Tensor]:
    """Indices of bootstrap draws: blocks with replacement, each with all of its slices."""
    random = np.random.default_rng(0)
    members = [torch.nonzero(slices.blocks == block)[:, 0] for block in BLOCKS]
    for _ in range(DRAWS):
        yield torch.cat([members[n] for n in random.integers(len(members), size=len(members))])


def main(arguments: list[str]) -> int:
    """Print one row of a table for each orientation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of <class>/block<NN>/*.png")
    parser.add_argument("--side", type=int, default=160, help="pixels")
    parser.add_argument("--per-block", type=int, default=12, help="slices of a class and block")
    parser.add_argument("--features", type=Path, help="keep the features here, or find them here")
    chosen = parser.parse_args(arguments)
    slices = read_slices(chosen.root, chosen.side, chosen.per_block)
    features = _all_features(slices.images, chosen.features)
    print(f"{len(slices.labels)} slices of {len(BLOCKS)} blocks, {chosen.side} px, C={C}")
    _print_table({name: held_out_logits(found, slices) for name, found in features.items()}, slices)
    return 0


def _all_features(images: torch.Tensor, kept: Path | None) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    if kept and kept.exists():
        found = torch.load(kept, weights_only=True)
    missing = [name for name in ORIENTATIONS if name not in found]
    if not missing:
        return found
    resnet = build_resnet(NUM_LAYERS, channels=3, num_classes=len(CLASSES))
    load_ct_weights(resnet)
    classifier = Classifier(resnet, trainable_stages=0, frozen_batch_norm=True).eval()
    classifier.place_on(torch.device("cpu"))
    for name in missing:
        started = time.monotonic()
        found[name] = features_of(classifier, ORIENTATIONS[name](images))
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        if kept:
            torch.save(found, kept)
    return found


def _print_table(logits: dict[str, torch.Tensor], slices: Slices) -> None:
    """Accuracy and AUC, and how far each lies from those of the first orientation."""
    draws = list(draws_of_blocks(slices))
    first = next(iter(logits.values()))
    base = [measures(first[draw], slices.labels[draw]) for draw in draws]
    print("| shown | accuracy | AUC | accuracy less than as displayed | AUC less |")
    print("|---|---|---|---|---|")
    for name, of_all in logits.items():
        accuracy, auc = measures(of_all, slices.labels)
        drawn = [measures(of_all[draw], slices.labels[draw]) for draw in draws]
        less = np.array(base) - np.array(drawn)
        shown = (
            f"{np.mean(less[:, n]):.3f} ({low:.3f} to {high:.3f})"
            for n, (low, high) in enumerate(np.percentile(less, (2.5, 97.5), axis=0).T)
        )
        print(f"| {name} | {accuracy:.3f} | {auc:.3f} | {' | '.join(shown)} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
