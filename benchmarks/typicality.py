"""Does a model know what it has not seen? The share of slices below typicality 0.05, by kind.

The network has the CT weights and nothing else; a trained one differs in its features alone. It
knows slices of blocks 07-15, blocks 16-19 are held out, and 0.05 is the threshold that keeps 95 %
of these. What is not from the set as it is should fall below; blocks from 20 on should not.

    python -m benchmarks.typicality ../shared/ct benchmarks/results/typicality.md

With `--cache DIR` the views of each kind are kept there, and a second run takes them.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.atypical import HELD_OUT, KNOWN, Kind, blocks, kinds
from tomodrop.errors import UploadRejected
from tomodrop.imaging.normaliser import normalise
from training.algorithm.appearance import Floats
from training.algorithm.images import Scaling, decode_image, stack_images
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.typicality import Typicality
from training.algorithm.views import FEATURES, LAYOUT, LEVELS, TEXTURE, look_at
from training.algorithm.weights import NUM_LAYERS, load_ct_weights

MINIMUM = 0.05
BATCH = 16
VIEWS = (FEATURES, LEVELS, TEXTURE, LAYOUT)

Views = dict[str, Floats]


class Eye:
    """The network, and where what it saw is kept."""

    def __init__(self, side: int, cache: Path | None) -> None:
        self._shape = (3, side, side)
        self._cache = cache
        resnet = build_resnet(NUM_LAYERS, channels=3, num_classes=2)
        load_ct_weights(resnet)
        self._classifier = Classifier(resnet, trainable_stages=0, frozen_batch_norm=True).eval()

    def see(self, kind: Kind) -> Views:
        """The views of all files that the normaliser takes."""
        kept = self._cache / f"{kind.group}-{kind.name}.npz" if self._cache else None
        if kept and kept.exists():
            with np.load(kept) as stored:
                return dict(stored)
        started = time.monotonic()
        images = stack_images([pixels for file in kind.files for pixels in self._pixels(file)])
        parts = []
        with torch.inference_mode():
            for batch in torch.split(images, BATCH):
                features = self._classifier.features(Scaling().to_input(batch))
                parts.append(look_at(batch.permute(0, 2, 3, 1).numpy(), features.numpy()))
        views = {name: np.concatenate([part[name] for part in parts]) for name in VIEWS}
        if kept:
            np.savez(kept, **views)  # type: ignore[arg-type]  # its stub has a flag among them
        seconds = time.monotonic() - started
        print(f"{kind.group}, {kind.name}: {len(images)} in {seconds:.0f} s", file=sys.stderr)
        return views

    def _pixels(self, file: bytes) -> Iterator[NDArray[np.uint8]]:
        try:
            yield decode_image(normalise(file, self._shape)[0].png, self._shape)
        except UploadRejected:
            return


def flagged(typicality: Typicality, views: Views) -> float:
    chosen = {name: views[name] for name in typicality.views}
    return float((typicality.score(chosen) < MINIMUM).mean())


def table(known: Views, held_out: Views, seen: list[tuple[Kind, Views]]) -> Iterator[str]:
    """The share of each kind that is flagged, by all views and by each alone."""
    models = [
        Typicality.fit({n: known[n] for n in names}, {n: held_out[n] for n in names})
        for names in (VIEWS, *((name,) for name in VIEWS))
    ]
    yield f"| kind | | slices | **flagged** | {' | '.join(f'{name} alone' for name in VIEWS)} |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind, views in seen:
        first, *others = (f"{flagged(model, views):.2f}" for model in models)
        count = len(views[FEATURES])
        yield f"| {kind.group} | {kind.name} | {count} | **{first}** | {' | '.join(others)} |"


def rotation(known: Views, held_out: Views, sizes: list[int]) -> list[float]:
    """The share flagged of each block 07-19 by a model that knows eight others.

    The four blocks after it (around the end) are held out. `sizes` are the blocks' numbers of
    slices, in the order in which they lie in the views.
    """
    edges = np.cumsum(sizes)[:-1]
    parts = {name: np.split(np.concatenate([known[name], held_out[name]]), edges) for name in VIEWS}

    def joined(places: list[int]) -> Views:
        return {name: np.concatenate([parts[name][place] for place in places]) for name in VIEWS}

    shares = []
    for place in range(len(sizes)):
        turned = [(place + step) % len(sizes) for step in range(len(sizes))]
        model = Typicality.fit(joined(turned[5:]), joined(turned[1:5]))
        shares.append(flagged(model, joined([place])))
    return shares


def main(arguments: list[str]) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder of the CT data")
    parser.add_argument("out", type=Path, help="page to write")
    parser.add_argument("--side", type=int, default=192, help="pixels")
    parser.add_argument("--per-block", type=int, default=25, help="slices of a class and block")
    parser.add_argument("--cache", type=Path, help="folder for what the network saw")
    chosen = parser.parse_args(arguments)
    if chosen.cache:
        chosen.cache.mkdir(parents=True, exist_ok=True)
    eye = Eye(chosen.side, chosen.cache)
    seen = [(kind, eye.see(kind)) for kind in kinds(chosen.root, chosen.per_block)]
    known, held_out = seen[0][1], seen[1][1]
    sizes = [
        len(blocks(chosen.root, range(n, n + 1), chosen.per_block)) for n in (*KNOWN, *HELD_OUT)
    ]
    shares = rotation(known, held_out, sizes)
    lines = [*table(known, held_out, seen), "", _say(shares)]
    chosen.out.write_text(HEAD.format(side=chosen.side) + "\n".join(lines) + "\n")
    return 0


def _say(shares: list[float]) -> str:
    return (
        f"Each of blocks 07-19 in turn, with the four after it held out and the other eight known: "
        f"{np.mean(shares):.2f} of a new block's slices are flagged on average, from "
        f"{min(shares):.2f} to {max(shares):.2f} by block; {0.05:.2f} would be ideal."
    )


HEAD = """# Slices that a model has not seen

Made by `benchmarks/typicality.py`; do not edit. ResNet-152 with the CT weights, {side} px. Flagged
is what has a typicality below 0.05, so that 95 % of the held-out slices are kept. Changed slices
are those of the held-out blocks.

"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
