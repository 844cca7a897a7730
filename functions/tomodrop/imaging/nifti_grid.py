"""The geometry of a NIfTI volume: which axis of the file is which of the patient's.

NIfTI's world runs to the right, the front and the head (RAS), in mm unless the header says else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from tomodrop.errors import UploadRejected
from tomodrop.imaging.refusals import damaged

# The longer side of an axial plane, in mm, and how far a volume may reach along the body.
_FIELD_OF_VIEW_MM = (100.0, 1000.0)
_LONGEST_MM = 2500.0
# Voxels of a volume that was acquired in coronal or sagittal planes are this much out of square.
_COARSEST = 3.0
# Between the planes' normal and the body's axis.
_MOST_TILT_DEGREES = 40.0
_UNIT_MM = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Grid:
    """A volume as planes: `shape` and `spacing_mm` run along head, back and left.

    `axes`: the file's axis for each of the three, and whether it runs the other way in the file.
    `spacing_mm` is None where the file leaves it at its default.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    axes: tuple[tuple[int, bool], ...]
    tilt_degrees: float
    positions_mm: tuple[float, ...] | None
    is_guessed: bool

    def planes(self, samples: NDArray[Any]) -> NDArray[Any]:
        """A view of samples in the file's axes: planes from the feet up, as a viewer shows them."""
        turned = samples.transpose([axis for axis, _ in self.axes])
        return turned[tuple(slice(None, None, -1 if flip else 1) for _, flip in self.axes)]


def grid_of(header: Nifti1Header) -> Grid:
    """The geometry that a header gives.

    Raises
    ------
    UploadRejected
        `four_dimensional` or `damaged_image`
    """
    shape = _shape(header)
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= _unit_mm(header)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise damaged("volume's geometry")
    axes = _axes(affine)
    towards = [affine[:3, axis] * (-1 if flip else 1) for axis, flip in axes]
    spacing = [float(np.linalg.norm(step)) for step in towards]
    normal = np.cross(towards[2], towards[1])  # left x back, in RAS: towards the head
    normal /= np.linalg.norm(normal)
    if normal[2] < 0:
        normal = -normal
    head, back, left = (shape[axis] for axis, _ in axes)
    grid = (head, back, left)
    is_default = np.allclose(spacing, 1.0) and not _is_plausible(grid, spacing)
    return Grid(
        shape=grid,
        spacing_mm=None if is_default else (spacing[0], spacing[1], spacing[2]),
        axes=axes,
        tilt_degrees=float(np.degrees(np.arccos(min(1.0, normal[2])))),
        positions_mm=None if is_default else _positions(affine, axes[0], head, normal),
        is_guessed=int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0,
    )


def _shape(header: Nifti1Header) -> tuple[int, int, int]:
    sides = [int(side) for side in header.get_data_shape()]
    if any(side < 1 for side in sides) or len(sides) < 2:
        raise damaged("volume's header")
    if any(side > 1 for side in sides[3:]):
        raise UploadRejected(
            "four_dimensional",
            f"The volume has {len(sides)} dimensions; a CT volume has three.",
            "Upload one volume per time point or channel.",
        )
    width, height, depth = (*sides, 1)[:3]
    return width, height, depth


def _unit_mm(header: Nifti1Header) -> float:
    try:
        return _UNIT_MM.get(header.get_xyzt_units()[0], 1.0)
    except KeyError:
        return 1.0


def _axes(affine: NDArray[Any]) -> tuple[tuple[int, bool], ...]:
    """For head, back and left: the file's axis, and whether it runs the other way there."""
    found: dict[int, tuple[int, bool]] = {}
    for axis, (world, sign) in enumerate(io_orientation(affine)):
        # The world's 0 and 1 run to the right and the front, the display's to the left and back.
        found[int(world)] = (axis, bool(sign < 0 if world == 2 else sign > 0))
    return found[2], found[1], found[0]


def _positions(
    affine: NDArray[Any], along: tuple[int, bool], count: int, normal: NDArray[Any]
) -> tuple[float, ...]:
    """Each plane's place along the normal, as DICOM's would be: it has the same z."""
    axis, flip = along
    start, step = affine[:3, 3] @ normal, affine[:3, axis] @ normal
    places = range(count)[:: -1 if flip else 1]
    return tuple(round(float(start + place * step), 3) for place in places)


def _is_plausible(shape: tuple[int, int, int], spacing_mm: list[float]) -> bool:
    head, back, left = (side * step for side, step in zip(shape, spacing_mm, strict=True))
    return _FIELD_OF_VIEW_MM[0] <= max(back, left) <= _FIELD_OF_VIEW_MM[1] and head <= _LONGEST_MM


def check_anatomy(grid: Grid) -> None:
    """Raise for what cannot be axial planes of a chest.

    Raises
    ------
    UploadRejected
        `implausible_size` or `wrong_orientation`
    """
    if grid.spacing_mm is None:
        return
    head, back, left = (n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    if not _is_plausible(grid.shape, list(grid.spacing_mm)):
        raise UploadRejected(
            "implausible_size",
            f"The volume measures {left:.0f} x {back:.0f} x {head:.0f} mm (left, back, head); an "
            f"axial plane of a chest has {_FIELD_OF_VIEW_MM[0]:.0f} to "
            f"{_FIELD_OF_VIEW_MM[1]:.0f} mm.",
            "Check the voxel size and the affine in the header.",
        )
    row_mm, column_mm = grid.spacing_mm[1:]
    is_coarse = max(row_mm, column_mm) > _COARSEST * min(row_mm, column_mm)
    if is_coarse or grid.tilt_degrees > _MOST_TILT_DEGREES:
        raise UploadRejected(
            "wrong_orientation",
            "The volume was not acquired in axial planes: "
            f"its axial pixels measure {column_mm:.2f} x {row_mm:.2f} mm, its planes are tilted by "
            f"{grid.tilt_degrees:.0f} degrees.",
            "Upload the axial series.",
        )
