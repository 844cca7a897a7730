"""Planes of samples to planes of greys, the same way for every format."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tomodrop.errors import UploadRejected
from tomodrop.imaging.limits import Limits
from tomodrop.imaging.lungs import LEAST_LUNG, Look, look_of, lung_share_of_hounsfield, thumbnail
from tomodrop.imaging.refusals import check_size
from tomodrop.imaging.volume import Grey, Plane
from tomodrop.imaging.windowing import Scale, range_warnings, to_grey

SMALLEST_SIDE_PX = 32
# Pixels whose sides differ by less are taken as square.
_SQUARE = 0.02
TILTED = (
    "Tilted: the planes lie {:.0f} degrees from axial (gantry tilt); they were taken as they are."
)
_NO_LUNG = "No lung seen: no slice shows air that the body encloses."


@dataclass(frozen=True)
class Rendered:
    """A plane's greys, what they show, and the span of its Hounsfield units (None: it has none)."""

    grey: Grey
    has_lung: bool
    span: tuple[float, float] | None = None
    look: Look | None = None


def render(samples: NDArray[Any], scale: Scale, limits: Limits) -> Rendered:
    """Window a plane (height, width), and see whether it shows lung.

    Raises
    ------
    UploadRejected
        `too_small`
    """
    height, width = samples.shape
    if min(height, width) < SMALLEST_SIDE_PX:
        raise UploadRejected(
            "too_small",
            f"The picture is {width} x {height} pixels; a slice has at least "
            f"{SMALLEST_SIDE_PX} on each side.",
            "Upload the slice at its original resolution.",
        )
    grey = to_grey(samples, scale, limits)
    if not scale.is_hounsfield:
        look = look_of(thumbnail(grey))
        return Rendered(grey, look.lung_share >= LEAST_LUNG, look=look)
    values = _hounsfield(thumbnail(samples), scale)
    has_lung = lung_share_of_hounsfield(values) >= LEAST_LUNG
    return Rendered(grey, has_lung, (float(values.min()), float(values.max())))


def _hounsfield(samples: NDArray[Any], scale: Scale) -> NDArray[Any]:
    values = np.nan_to_num(samples.astype(np.float64), posinf=0.0, neginf=0.0)
    if scale.padding is not None:
        is_padding = (values >= scale.padding[0]) & (values <= scale.padding[1])
        values = values * scale.slope + scale.offset
        values[is_padding] = -1024.0
        return values
    result: NDArray[Any] = values * scale.slope + scale.offset
    return result


def square_pixels(grey: Grey, spacing_mm: tuple[float, float] | None, limits: Limits) -> Grey:
    """Stretch the coarser axis, so that a pixel (row step, column step in mm) is square.

    Raises
    ------
    UploadRejected
        `too_many_pixels`
    """
    if spacing_mm is None or not 0 < min(spacing_mm) <= max(spacing_mm) < math.inf:
        return grey
    row_mm, column_mm = spacing_mm
    if abs(row_mm / column_mm - 1.0) < _SQUARE:
        return grey
    height, width = grey.shape
    finest = min(spacing_mm)
    size = round(width * column_mm / finest), round(height * row_mm / finest)
    check_size(*size, limits)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))


def planes_of(rendered: Iterable[Rendered], positions_mm: Iterable[float | None]) -> list[Plane]:
    """Planes in order, counted from 0."""
    return [
        Plane(one.grey, index, position, one.has_lung)
        for index, (one, position) in enumerate(zip(rendered, positions_mm, strict=True))
    ]


def content_warnings(rendered: list[Rendered]) -> tuple[str, ...]:
    """What is odd about planes in Hounsfield units: their span, or that none shows lung."""
    spans = [one.span for one in rendered if one.span is not None]
    found: tuple[str, ...] = ()
    if spans:
        found = range_warnings(min(low for low, _ in spans), max(high for _, high in spans))
    if not any(one.has_lung for one in rendered):
        found = (*found, _NO_LUNG)
    return found
