"""Slices of a set, and what is none of it or was changed: the kinds that `typicality.py` shows."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from training.datasets.phantoms import CLASSES as PHANTOMS
from training.datasets.phantoms import encode, phantoms, window

KNOWN, HELD_OUT, NEW = range(7, 16), range(16, 20), range(20, 26)

Change = Callable[[Image.Image], Image.Image]


def curve(brightness: Callable[[float], float]) -> Change:
    """Change greys by a function of 0…1."""
    table = [round(255 * min(max(brightness(level / 255), 0), 1)) for level in range(256)]
    return lambda picture: picture.point(table)


def windowed(level_hu: float, width_hu: float) -> Change:
    """Show a slice of the lung window (level -600, width 1500 HU) in another one."""
    return curve(lambda grey: (grey * 1500 - 1350 - level_hu) / width_hu + 0.5)


def zoomed(factor: float) -> Change:
    """Cut out the middle; below 1, put the slice into a black field."""

    def change(picture: Image.Image) -> Image.Image:
        width, height = round(picture.width / factor), round(picture.height / factor)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))

    return change


def coarsened(factor: int) -> Change:
    """Take resolution away: scaled down and up again."""

    def change(picture: Image.Image) -> Image.Image:
        small = (max(1, picture.width // factor), max(1, picture.height // factor))
        bilinear = Image.Resampling.BILINEAR
        return picture.resize(small, bilinear).resize(picture.size, bilinear)

    return change


def noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(picture.width).normal(0, 25, (picture.height, picture.width))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


CHANGES: dict[str, dict[str, Change]] = {
    "re-windowed": {
        "soft tissue (40, 400)": windowed(40, 400),
        "mediastinum, wide (-100, 700)": windowed(-100, 700),
        "bone (500, 1800)": windowed(500, 1800),
        "lung, brighter (-900, 1500)": windowed(-900, 1500),
        "lung, darker (-300, 1500)": windowed(-300, 1500),
        "lung, narrow (-600, 800)": windowed(-600, 800),
        "wide (-500, 3000)": windowed(-500, 3000),
        "gamma 0.5": curve(lambda grey: grey**0.5),
        "gamma 2": curve(lambda grey: grey**2),
        "inverted": ImageOps.invert,
        "histogram equalised": ImageOps.equalize,
    },
    "rescaled": {
        "half the size in a black field": zoomed(0.5),
        "middle, 1.5 times": zoomed(1.5),
        "middle, 2 times": zoomed(2),
        "upper left quarter": lambda picture: picture.crop(
            (0, 0, picture.width // 2, picture.height // 2)
        ),
        "1.6 times as high": lambda picture: picture.resize(
            (picture.width, round(picture.height * 1.6))
        ),
        "an 8th of the resolution": coarsened(8),
        "a 4th of the resolution": coarsened(4),
    },
    "turned": {
        "by 90°": lambda picture: picture.rotate(90, expand=True),
        "by 180°": lambda picture: picture.rotate(180),
        "by 25°": lambda picture: picture.rotate(25, Image.Resampling.BILINEAR),
        "front and back swapped": ImageOps.flip,
        "left and right swapped": ImageOps.mirror,
    },
    "degraded": {
        "noise, 25 grey levels": noisy,
        "blur, 3 pixels": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    },
}


@dataclass(frozen=True)
class Kind:
    """Files that are shown under one name; `group` is what they have in common with others."""

    group: str
    name: str
    files: list[bytes]


def blocks(root: Path, numbers: range, per_block: int) -> list[bytes]:
    """Slices of both classes, evenly spaced in the scan order of each block."""
    found = []
    for number in numbers:
        for label in ("non_covid", "covid"):
            paths = sorted((root / "sars-cov-2-ct" / label / f"block{number:02d}").glob("*"))
            places = np.unique(np.linspace(0, len(paths) - 1, per_block).round().astype(int))
            found += [paths[place].read_bytes() for place in places if paths]
    return found


def png(pixels: Image.Image | NDArray[np.uint8]) -> bytes:
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def opened(file: bytes) -> Image.Image:
    """A picture in grey, without its alpha channel."""
    return Image.open(io.BytesIO(file)).convert("RGB").convert("L")


def volume(root: Path) -> tuple[NDArray[np.float64], float]:
    """Hounsfield units [slice, front to back, right to left], and slice distance / pixel size."""
    image = nibabel.as_closest_canonical(
        nibabel.load(root / "nifti" / "lungdx_A0002_noncovid.nii.gz")
    )
    hounsfield = np.asarray(image.dataobj, dtype=np.float64)[::-1, ::-1].transpose(2, 1, 0)
    _right, _front, up = image.header.get_zooms()
    return hounsfield, float(up / image.header.get_zooms()[0])


def around_lungs(hounsfield: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut a slice to its lungs and some more, as the set's pictures are."""
    lungs = (hounsfield > -950) & (hounsfield < -600)
    cuts = []
    for axis in (1, 0):
        where = np.flatnonzero(lungs.mean(axis) > 0.04)
        margin = len(where) // 10
        cuts.append(slice(max(0, where[0] - margin), where[-1] + margin))
    return hounsfield[cuts[0], cuts[1]]


def projections(hounsfield: NDArray[np.float64], ratio: float) -> Iterator[bytes]:
    """What an X-ray picture would show from the front and the side: all of the body, and parts."""
    density = np.clip(hounsfield, -1000, 1000) + 1000
    for axis in (1, 2):
        for part in (slice(None), slice(0, 256), slice(256, 512), slice(128, 384)):
            seen = np.take(density, np.arange(512)[part], axis).mean(axis)[::-1]
            grey = 255 * (1 - np.exp(-seen / np.percentile(seen, 60)))
            picture = Image.fromarray(grey.astype(np.uint8))
            yield png(picture.resize((512, round(len(seen) * ratio))))


def kinds(root: Path, per_block: int) -> Iterator[Kind]:
    """Everything that is shown to the model, in the order of the table."""
    yield Kind("same set", "blocks 07-15, known", blocks(root, KNOWN, per_block))
    yield Kind("same set", "blocks 16-19, held out", blocks(root, HELD_OUT, per_block))
    yield Kind("same set", "blocks 20 and up, new", blocks(root, NEW, per_block))
    odd = root / "odd"
    brains = sorted(path for path in (odd / "not-ct").rglob("*") if path.is_file())
    yield Kind("not lung CT", "brain MRI", [path.read_bytes() for path in brains])
    suite = sorted((odd / "pngsuite").glob("*.png"))
    yield Kind("not lung CT", "PNG test pictures", [path.read_bytes() for path in suite])
    hounsfield, ratio = volume(root)
    yield Kind("not lung CT", "projections, X-ray-like", list(projections(hounsfield, ratio)))
    drawn = [
        phantom
        for label in PHANTOMS
        for phantom in phantoms(label, patients=6, slices=5, seed=7, size=256)
    ]
    yield Kind("not lung CT", "phantoms", [encode(phantom) for phantom in drawn])
    whole = [png(window(one)) for one in hounsfield]
    cut = [png(window(around_lungs(one).astype(np.float32))) for one in hounsfield]
    yield Kind("another hospital", "one series, as it is", whole)
    yield Kind("another hospital", "the same, cut to the lungs", cut)
    some = [opened(file) for file in blocks(root, HELD_OUT, per_block // 2)]
    for group, changes in CHANGES.items():
        for name, change in changes.items():
            yield Kind(f"held out, {group}", name, [png(change(picture)) for picture in some])
