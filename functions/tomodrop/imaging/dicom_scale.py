"""What a DICOM frame's stored samples mean: rescaling, padding, and which way the greys run."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tomodrop.imaging.dicom_values import group, number, whole, word
from tomodrop.imaging.windowing import Scale, guess_scale, sample_of

_SIXTEEN_BIT = 65536
# Less is air or padding, which is what lies at the edge of a CT.
_EDGE_HU = -300.0
# From emphysema to dense bone.
_THINNEST_HU, _DENSEST_HU = -980.0, 2000.0
_INVERTED = (
    "Inverted: the samples of this MONOCHROME1 image run against its rescaling; turned back."
)
_NO_RESCALE = "No Hounsfield scale: the file lacks its rescaling."


def scale_of(dataset: Dataset, frame: int, samples: NDArray[Any]) -> Scale:
    """The scale of a frame, counted from 0; `samples` (height, width) are its stored ones.

    MONOCHROME1 says how to display, not what rescaled samples are, so Hounsfield units stay as
    they are. Where that puts tissue at the edge of the image and inverting the samples puts air
    there, the samples were inverted and are turned back.
    """
    holder = group(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
    is_inverse = word(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if slope and intercept is not None:
        scale = Scale(slope, intercept)
    else:
        guess = guess_scale(sample_of(samples))
        scale = replace(guess, warnings=(_NO_RESCALE, *guess.warnings))
    scale = replace(scale, padding=_padding(dataset, scale))
    return _turned(scale, dataset, samples) if is_inverse else scale


def _turned(scale: Scale, dataset: Dataset, samples: NDArray[Any]) -> Scale:
    if not scale.is_hounsfield:
        return replace(scale, inverted=True)
    bits = whole(dataset, "BitsStored", 16)
    # Lowest and highest sample: their sum is -1 for signed ones.
    ends = -1 if whole(dataset, "PixelRepresentation") else 2**bits - 1
    edge = _edge(samples)
    found = float(np.median(edge)) * scale.slope + scale.offset
    inverse = (ends - float(np.median(edge))) * scale.slope + scale.offset
    if found <= _EDGE_HU or inverse > _EDGE_HU:
        return scale
    offset = scale.offset + scale.slope * ends
    warnings = (*scale.warnings, _INVERTED)
    return replace(scale, slope=-scale.slope, offset=offset, warnings=warnings)


def _edge(samples: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([samples[0], samples[-1], samples[:, 0], samples[:, -1]])


def _padding(dataset: Dataset, scale: Scale) -> tuple[float, float] | None:
    """Samples from PixelPaddingValue to PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2).

    Some devices write a value there that tissue has as well, 0 above all: that is no padding.
    """
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    ends = [_as_stored(end, dataset) for end in (first, first if last is None else last)]
    if scale.is_hounsfield and any(_is_tissue(end * scale.slope + scale.offset) for end in ends):
        return None
    return min(ends), max(ends)


def _is_tissue(value_hu: float) -> bool:
    return _THINNEST_HU < value_hu < _DENSEST_HU


def _as_stored(padding: float, dataset: Dataset) -> float:
    """Its VR (US or SS) follows PixelRepresentation, but devices write the wrong one."""
    if whole(dataset, "PixelRepresentation"):
        return padding - _SIXTEEN_BIT if padding >= _SIXTEEN_BIT / 2 else padding
    return padding + _SIXTEEN_BIT if padding < 0 else padding
