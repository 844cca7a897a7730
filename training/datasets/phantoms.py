"""Synthetic axial CT slices of the lungs, so that the whole way can be shown without any scan.

    python -m training.datasets.phantoms OUT --patients 12 --slices 8 --seed 7 --size 256

lays out `OUT/<class>/<patient>/<slice>.png`, `--patients` of them for each class. Class "covid"
has peripheral ground-glass patches, some with crazy paving or consolidation; "non_covid" has none.
All else, density of the lungs, dose, pose, build, varies by patient in the same way for both, so
mean brightness does not give the class away. A synthetic phantom shows that the machinery works
and says nothing about how well a model reads real scans; each file says so in its metadata.
"""

import argparse
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from training.datasets.phantom_patient import make_patient, render_slice
from training.datasets.phantom_shapes import Field

ILL, WELL = "covid", "non_covid"
CLASSES = (ILL, WELL)
NOTICE = "Synthetic phantom, not a patient. Research use only. Not a medical device."
WINDOW_LEVEL_HU = -600.0
WINDOW_WIDTH_HU = 1500.0
JPEG_QUALITY = 92
MIN_SIZE, MAX_SIZE = 32, 2048


@dataclass(frozen=True)
class Phantom:
    """One slice: its class, its patient's name, its number from the top, 8-bit pixels."""

    label: str
    patient: str
    number: int
    pixels: NDArray[np.uint8]


def window(hounsfield: Field) -> NDArray[np.uint8]:
    """Hounsfield units as 8-bit grey in the lung window (level -600, width 1500)."""
    low = WINDOW_LEVEL_HU - WINDOW_WIDTH_HU / 2
    grey = (hounsfield - low) * (255 / WINDOW_WIDTH_HU)
    pixels: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return pixels


def phantoms(label: str, *, patients: int, slices: int, seed: int, size: int) -> Iterator[Phantom]:
    """Slices of `patients` synthetic patients of class `label`; the same arguments, same pixels.

    A patient depends on seed, class and number alone: asking for more adds to the set.
    """
    for number in range(1, patients + 1):
        rng = np.random.default_rng([seed, zlib.crc32(label.encode()), number])
        patient = make_patient(rng, ill=label == ILL)
        steps = np.linspace(0.08, 0.96, slices) + rng.uniform(-0.03, 0.03, slices)
        for index, position in enumerate(steps, start=1):
            pixels = window(render_slice(patient, float(position), rng, size))
            yield Phantom(label, f"phantom-{seed}-{label}-{number:02d}", index, pixels)


def encode(phantom: Phantom, image_format: str = "png") -> bytes:
    """The slice as a PNG or JPEG file that says in its metadata that it is synthetic."""
    picture, buffer = Image.fromarray(phantom.pixels), BytesIO()
    if image_format == "png":
        text = PngInfo()
        text.add_text("Description", NOTICE)
        picture.save(buffer, "PNG", pnginfo=text)
    else:
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, comment=NOTICE.encode())
    return buffer.getvalue()


def write_tree(
    out: Path, *, patients: int, slices: int, seed: int, size: int, image_format: str = "png"
) -> list[Path]:
    """Write `<class>/<patient>/<slice>` under `out` for both classes; returns the files."""
    suffix = {"png": "png", "jpeg": "jpg"}[image_format]
    written = []
    for label in CLASSES:
        for phantom in phantoms(label, patients=patients, slices=slices, seed=seed, size=size):
            path = out / label / phantom.patient / f"slice-{phantom.number:03d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(phantom, image_format))
            written.append(path)
    return written


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        message = f"{text!r} is not a whole number of at least 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _size(text: str) -> int:
    size = _count(text)
    if not MIN_SIZE <= size <= MAX_SIZE:
        message = f"{size} pixels is outside {MIN_SIZE} to {MAX_SIZE}"
        raise argparse.ArgumentTypeError(message)
    return size


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets.phantoms",
        description="Write synthetic phantom slices of lungs, with and without ground glass.",
    )
    parser.add_argument("out", type=Path, help="folder to fill with <class>/<patient>/<slice>")
    parser.add_argument("--patients", type=_count, default=12, help="patients of each class")
    parser.add_argument("--slices", type=_count, default=8, help="slices of each patient")
    parser.add_argument("--seed", type=int, default=7, help="same seed, same pixels")
    parser.add_argument("--size", type=_size, default=256, help="width and height in pixels")
    parser.add_argument("--format", choices=("png", "jpeg"), default="png", dest="image_format")
    given = parser.parse_args(arguments)
    written = write_tree(**vars(given))
    sys.stdout.write(f"{len(written)} synthetic phantom slices in {given.out}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
