"""How surely copies are found, and what plain facts tell, on a labelled folder of pictures.

    python -m benchmarks.copies FOLDER [--sample 120]

FOLDER holds <class>/<group>/<file>. Printed are: by how many bits of 256 the perceptual hash of a
picture changes when it is saved again in other ways; how many pairs of different pictures are as
near, within a class and across; how many of these pairs the search finds; and each fact's AUC on
held-out groups, as the audit measures it.
"""

import argparse
import io
import random
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

from PIL import Image, ImageEnhance

from tomodrop import copies
from tomodrop.errors import UploadRejected
from tomodrop.halves import TRAIN, VALIDATION, place
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.imaging.normaliser import normalise
from tomodrop.retraining import SCHEMA
from tomodrop.scratch import scratch_tables
from tomodrop.shortcuts import Facts, facts_of_upload, measure

SHAPE = (3, 224, 224)
BOUNDS = (12, 24, 36)
HELD_OUT_SHARE = 0.3


def saved(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def cropped(picture: Image.Image) -> Image.Image:
    """Without a fiftieth of its width on each side."""
    edge = max(1, picture.width // 50)
    return picture.crop((edge, edge, picture.width - edge, picture.height - edge))


AGAIN: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG, quality 75": lambda picture: saved(picture, "JPEG", quality=75),
    "JPEG, quality 30": lambda picture: saved(picture, "JPEG", quality=30),
    "half the size": lambda one: saved(one.resize((one.width // 2, one.height // 2))),
    "brighter by 15 %": lambda picture: saved(ImageEnhance.Brightness(picture).enhance(1.15)),
    "2 % cropped on each side": lambda picture: saved(cropped(picture)),
}


def bits_of(made: NormalisedSlice) -> int:
    """The perceptual hash as a number."""
    assert made.pixels
    return int(made.pixels.phash, 16)


def changes(paths: list[Path]) -> None:
    """Print how far copies of these pictures are from them."""
    apart: dict[str, list[int]] = defaultdict(list)
    for path in paths:
        (made,) = normalise(path.read_bytes(), SHAPE)
        with Image.open(path) as image:
            picture = image.convert("RGB").convert("L")
        for name, again in AGAIN.items():
            (copy,) = normalise(again(picture), SHAPE)
            apart[name].append((bits_of(made) ^ bits_of(copy)).bit_count())
    for name, bits in apart.items():
        bits.sort()
        found = sum(one <= copies.MAX_DISTANCE for one in bits) / len(bits)
        print(f"{name}: median {bits[len(bits) // 2]}, most {bits[-1]}, near {found:.0%}")


def pairs(slices: list[tuple[str, NormalisedSlice]]) -> None:
    """Print how many pairs are near, and how many of them the search finds."""
    hashes = [bits_of(made) for _, made in slices]
    near = {
        (one, other): distance
        for one, other in combinations(range(len(hashes)), 2)
        if (distance := (hashes[one] ^ hashes[other]).bit_count()) <= max(BOUNDS)
    }
    for bound in BOUNDS:
        of_bound = [pair for pair, distance in near.items() if distance <= bound]
        across = sum(slices[one][0] != slices[other][0] for one, other in of_bound)
        print(f"at most {bound} bits apart: {len(of_bound)} pairs, {across} of them across classes")
    wanted = sum(distance <= copies.MAX_DISTANCE for distance in near.values())
    for extent in ((16, 32), (3, 32), (2, 4)):
        print(f"passes and window {extent}: {searched(slices, extent)} of {wanted} found")


def searched(slices: list[tuple[str, NormalisedSlice]], extent: tuple[int, int]) -> int:
    """How many near pairs the search finds, each slice being an upload and a group of its own."""
    with scratch_tables(SCHEMA) as tables:
        for number, (_, made) in enumerate(slices):
            assert made.pixels
            tables.execute(
                "INSERT INTO upload (id, label, grp) VALUES (?, 0, ?)", (number, f"{number}")
            )
            tables.execute(
                "INSERT INTO slice (upload, sha256, phash) VALUES (?, ?, ?)",
                (number, bytes.fromhex(made.pixels.sha256), bytes.fromhex(made.pixels.phash)),
            )
        whole, copies.extent = copies.extent, lambda _: extent
        copies.find_copies(tables)
        copies.extent = whole
        (found,) = tables.execute("SELECT COUNT(*) FROM near").fetchone()
        return int(found)


def facts(folder: Path, slices: list[tuple[Path, NormalisedSlice]]) -> None:
    """Print what each fact tells."""
    names = tuple(sorted({path.relative_to(folder).parts[0] for path, _ in slices}, reverse=True))
    counted = Facts(len(names))
    for path, made in slices:
        name, group, *_ = path.relative_to(folder).parts
        half = VALIDATION if place(f"{name}/{group}", "tomodrop") < HELD_OUT_SHARE else TRAIN
        said, pixels = made.processing, made.pixels
        assert pixels
        of_upload = facts_of_upload(
            said["width_px"],
            said["height_px"],
            said["format"],
            said.get("alpha", ""),
            is_lossy=said.get("lossy", False),
        )
        values = of_upload | {"mean": int(pixels.mean), "spread": int(pixels.spread)}
        counted.add(half, names.index(name), values)
    for one in measure(counted, names):
        print(f"{one.fact}: AUC {one.auc:.2f}, balanced accuracy {one.balanced_accuracy:.2f}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description="How surely copies are found.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=int, default=120)
    options = parser.parse_args()
    slices: list[tuple[Path, NormalisedSlice]] = []
    for path in sorted(options.folder.rglob("*.*")):
        try:
            (made,) = normalise(path.read_bytes(), SHAPE)
        except (UploadRejected, ValueError):
            continue  # no picture of one slice
        slices.append((path, made))
    print(f"{len(slices)} pictures")
    chosen = random.Random(1).sample([path for path, _ in slices], options.sample)  # noqa: S311
    changes(chosen)
    pairs([(path.relative_to(options.folder).parts[0], made) for path, made in slices])
    facts(options.folder, slices)


if __name__ == "__main__":
    main()
