"""Small trees laid out like the sets, with pictures that look like nothing but themselves."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.datasets.__main__ import main

# nibabel's functions bear no types.
nib: Any = nibabel


def picture(seed: int, side: int = 96) -> Image.Image:
    """A smooth random picture: another seed looks nothing like it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def chest(*, lungs: bool = True, marker: bool = False, side: int = 64) -> NDArray[np.int16]:
    """A slice (rows to the back, columns to the patient's left) in HU; `marker`: bone."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    image = np.full((side, side), -1000, np.int16)
    image[(x / 0.9) ** 2 + (y / 0.7) ** 2 < 1] = 40
    if lungs:
        for centre in (-0.4, 0.4):
            image[((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    if marker:
        image[(x - 0.35) ** 2 + (y + 0.5) ** 2 < 0.01] = 900
    return image


def volume(*slices: NDArray[np.int16]) -> NDArray[np.int16]:
    """An array (to the left, to the back, to the head) of slices that come from the head down."""
    return np.stack([one.T for one in reversed(slices)], axis=2)


LPS = np.diag([-0.8, -0.8, 8.0, 1.0])
"""In NIfTI's axes (right, front, head): the first array axis runs left, the second back."""


def save_volume(voxels: NDArray[Any], path: Path, affine: NDArray[Any] | None = LPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.nifti1.Nifti1Image(voxels, affine).to_filename(path)
    return path


def run(command: str, source: Path, out: Path, *options: str) -> int:
    return main([command, str(source), str(out), *options])


def tree(out: Path) -> dict[str, bytes]:
    """Every file that is not hidden, by its path."""
    found = sorted(path for path in out.rglob("*") if path.is_file())
    names = {path: path.relative_to(out).as_posix() for path in found}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith(".")}


def groups(out: Path, label: str) -> list[str]:
    return sorted(path.name for path in (out / label).iterdir())


def report(out: Path) -> list[dict[str, Any]]:
    lines = (out / ".import-report.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def skipped(out: Path) -> dict[str, str]:
    """Reason of every path that was left out."""
    return {line["skipped"]: line["reason"] for line in report(out) if "skipped" in line}
