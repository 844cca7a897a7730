"""NIfTI-1 and NIfTI-2 volumes, plain or gzipped, as axial planes in display orientation.

Format: nifti.nimh.nih.gov; the header is read by nibabel, the samples by numpy, plane by plane.
"""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from tomodrop.errors import UploadRejected
from tomodrop.imaging.inflating import gunzip
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.nifti_grid import Grid, check_anatomy, grid_of
from tomodrop.imaging.refusals import check_inflation, check_planes, check_size, damaged
from tomodrop.imaging.rendering import (
    TILTED,
    Rendered,
    content_warnings,
    planes_of,
    render,
    square_pixels,
)
from tomodrop.imaging.scope import look_warnings
from tomodrop.imaging.volume import Volume
from tomodrop.imaging.windowing import Scale, guess_scale, sample_of

_GZIP = b"\x1f\x8b"
# The header and the four bytes that say whether extensions follow.
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_TILT_WARNED_DEGREES = 1.0
# Enough planes to see what the samples mean.
_SAMPLED_PLANES = 32
_UNKNOWN_SPACING = "Voxel size unknown: the header leaves it at 1 mm, which no chest fits."
_UNKNOWN_ORIENTATION = "Orientation guessed: the header says nothing of it."
_NO_SCALE = "No Hounsfield scale: the samples are greys, their window was taken as it is."


def read_nifti(body: bytes, limits: Limits) -> Volume:
    """The axial planes of a volume.

    Raises
    ------
    UploadRejected
        `four_dimensional`, `unsupported_depth`, `implausible_size`, `wrong_orientation`,
        `damaged_image`, or a code of the limits.
    """
    header = _header(body)
    dtype, grid = _dtype(header), grid_of(header)
    _check_limits(grid, dtype, limits)
    check_anatomy(grid)
    planes = grid.planes(_samples(body, header, dtype, limits))
    scale = _scale(header, planes)
    rendered = [_rendered(plane, scale, grid, limits) for plane in planes]
    return Volume(
        planes=tuple(planes_of(rendered, grid.positions_mm or [None] * len(rendered))),
        processing=_processing(body, dtype, grid) | {"window": scale.described(limits)},
        warnings=(*_geometry_warnings(grid), *scale.warnings, *_content(scale, rendered)),
    )


def _header(body: bytes) -> Nifti1Header:
    is_gzip = body.startswith(_GZIP)
    head = gunzip(body, _NIFTI1_BYTES).tobytes() if is_gzip else body[:_NIFTI1_BYTES]
    is_second = _NIFTI2_BYTES in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4]))
    kind, size = (Nifti2Header, _NIFTI2_BYTES) if is_second else (Nifti1Header, _NIFTI1_BYTES)
    if is_second:
        head = gunzip(body, size).tobytes() if is_gzip else body[:size]
    # Four zeros: there are no extensions to read, whose text nothing here needs.
    header = kind.from_fileobj(io.BytesIO(head + bytes(4)), check=False)
    if not isinstance(header, Nifti1Header):
        raise damaged("volume's header")
    return header


def _dtype(header: Nifti1Header) -> np.dtype[Any]:
    dtype: np.dtype[Any] = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UploadRejected(
            "unsupported_depth",
            "The volume holds colours, complex numbers or numbers of more than 64 bit.",
            "Save it with whole numbers of 16 bit, in Hounsfield units.",
        )
    return dtype


def _check_limits(grid: Grid, dtype: np.dtype[Any], limits: Limits) -> None:
    count, height, width = grid.shape
    check_size(width, height, limits)
    check_planes(count, height * width * dtype.itemsize, limits)


def _samples(
    body: bytes, header: Nifti1Header, dtype: np.dtype[Any], limits: Limits
) -> NDArray[Any]:
    shape = header.get_data_shape()[:3]
    count = int(np.prod(shape))
    start = int(header.get_data_offset())
    end = start + count * dtype.itemsize
    if start < header.sizeof_hdr:
        raise damaged("volume's header")
    if body.startswith(_GZIP):
        check_inflation(len(body), end, limits)
        source: Any = gunzip(body, end)
    else:
        source = body
    if len(source) < end:
        raise damaged("volume")
    samples = np.frombuffer(source, dtype, count, start)
    return samples.reshape((*shape, 1)[:3], order="F")


def _scale(header: Nifti1Header, planes: NDArray[Any]) -> Scale:
    """What stored samples mean, by the header's slope and by the values that this gives."""
    slope, inter = header.get_slope_inter()
    slope, inter = (1.0, 0.0) if slope is None else (float(slope), float(inter or 0.0))
    step = max(1, len(planes) // _SAMPLED_PLANES)
    sample = np.concatenate([sample_of(plane) for plane in planes[::step]])
    values = sample if (slope, inter) == (1.0, 0.0) else sample * slope + inter
    guess = guess_scale(values)
    return replace(guess, slope=guess.slope * slope, offset=guess.slope * inter + guess.offset)


def _rendered(plane: NDArray[Any], scale: Scale, grid: Grid, limits: Limits) -> Rendered:
    made = render(plane, scale, limits)
    spacing = grid.spacing_mm and grid.spacing_mm[1:]
    return replace(made, grey=square_pixels(made.grey, spacing, limits))


def _processing(body: bytes, dtype: np.dtype[Any], grid: Grid) -> dict[str, Any]:
    count, height, width = grid.shape
    made: dict[str, Any] = {
        "format": "NIfTI, gzip" if body.startswith(_GZIP) else "NIfTI",
        "data_type": dtype.name,
        "bits": dtype.itemsize * 8,
        "width_px": width,
        "height_px": height,
        "slices": count,
    }
    if grid.spacing_mm is not None:
        between, row, column = (round(step, 4) for step in grid.spacing_mm)
        made |= {"slice_spacing_mm": between, "pixel_spacing_mm": [row, column]}
    return made


def _geometry_warnings(grid: Grid) -> tuple[str, ...]:
    found = []
    if grid.spacing_mm is None:
        found.append(_UNKNOWN_SPACING)
    if grid.is_guessed:
        found.append(_UNKNOWN_ORIENTATION)
    if grid.tilt_degrees > _TILT_WARNED_DEGREES:
        found.append(TILTED.format(grid.tilt_degrees))
    return tuple(found)


def _content(scale: Scale, rendered: list[Rendered]) -> tuple[str, ...]:
    if scale.is_hounsfield:
        return content_warnings(rendered)
    looks = [look_warnings(one.look) for one in rendered if one.look is not None]
    return (_NO_SCALE, *min(looks, key=len, default=()))
