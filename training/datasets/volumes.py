"""Axial slices of a NIfTI volume in Hounsfield units, as radiologists see them.

Whatever order the voxels are stored in: the affine says which array axis runs to the patient's
left, back and head (https://nifti.nimh.nih.gov/nifti-1, "orientation and location in space").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import nibabel
import numpy as np
from numpy.typing import NDArray

from training.datasets.failure import SourceSkipped

Slice: TypeAlias = NDArray[np.float32]
"""(rows to the back, columns to the patient's left), Hounsfield units."""

MAX_VOXELS = 1024 * 1024 * 1024
MIN_SIDE = 32
AIR_HU = -900.0
"""A chest CT always shows air; a volume without a value this low is not in Hounsfield units."""

# How slices are shown: columns run to the patient's left, rows to the back; the third axis runs
# to the feet, so that slice 1 is the topmost.
_DISPLAY = ("L", "P", "I")
# nibabel's functions bear no types.
nib: Any = nibabel


@dataclass(frozen=True)
class Volume:
    """A 3-D image that has not been read yet, and how its axes lie."""

    image: Any
    orientation: NDArray[np.float64]

    def slices(self) -> Iterator[Slice]:
        """Axial slices from the head down, read one at a time.

        Raises
        ------
        SourceSkipped
            The file ends early or is damaged, or voxels are not finite.
        """
        axis = int(np.flatnonzero(self.orientation[:, 0] == 2)[0])
        turned, count = self.orientation[axis, 1] < 0, self.image.shape[axis]
        try:
            # Slices of the slowest axis lie apart in the file; others would read all of it each.
            voxels = self.image.dataobj if axis == 2 else self.image.get_fdata(dtype=np.float32)
            for index in reversed(range(count)) if turned else range(count):
                place: list[slice | int] = [slice(None)] * 3
                place[axis] = index
                plane = np.asarray(voxels[tuple(place)], dtype=np.float32)
                yield self._displayed(plane, axis)
        except SourceSkipped:
            raise
        except Exception as error:  # whatever damaged bytes lead to
            raise SourceSkipped("broken_volume", f"it cannot be read: {error}") from error

    def _displayed(self, plane: Slice, axis: int) -> Slice:
        if not np.isfinite(plane).all():
            raise SourceSkipped("broken_volume", "some voxels are no finite numbers")
        rest = np.delete(self.orientation, axis, axis=0)
        shown: Slice = nib.orientations.apply_orientation(plane, rest).T
        return shown


def open_volume(path: Path) -> Volume:
    """Open a `.nii` or `.nii.gz` file without reading its voxels.

    Raises
    ------
    SourceSkipped
        It is no NIfTI file, not three-dimensional, too small or too large, or does not say how it
        is oriented.
    """
    try:
        # Each slice goes on in the same stream: a .nii.gz can only be unpacked from its start.
        image: Any = nib.nifti1.Nifti1Image.from_filename(path, keep_file_open=True)
    except Exception as error:  # a header of damaged bytes may raise anything
        raise SourceSkipped("broken_volume", f"it is no NIfTI file: {error}") from error
    _check_shape(image.shape)
    return Volume(image, _orientation(image))


def _check_shape(shape: tuple[int, ...]) -> None:
    told = " x ".join(map(str, shape))
    if len(shape) != 3:
        raise SourceSkipped("not_3d", f"its shape is {told}; one volume of three axes is expected")
    if np.prod(shape, dtype=np.int64) > MAX_VOXELS:
        raise SourceSkipped("too_large", f"{told} voxels; at most {MAX_VOXELS:,}")
    if sorted(shape)[1] < MIN_SIDE:
        raise SourceSkipped("too_small", f"{told} voxels; slices need {MIN_SIDE} a side")


def _orientation(image: Any) -> NDArray[np.float64]:
    """For each array axis: the axis of the display it runs along, and 1 or -1 for the direction."""
    if not (image.header["sform_code"] or image.header["qform_code"]):
        raise SourceSkipped("no_orientation", "its header says nothing of how it is oriented")
    found = nib.orientations.io_orientation(image.affine)
    if not np.isfinite(found).all():
        raise SourceSkipped("no_orientation", "its affine is singular")
    display = nib.orientations.axcodes2ornt(_DISPLAY)
    towards: NDArray[np.float64] = nib.orientations.ornt_transform(found, display)
    return towards
