"""From stored samples to the 8-bit greys of a window.

Hounsfield units are seen through the window of `Limits`: grey = 255 · (HU - lowest) / width,
rounded and bounded, as DICOM PS3.3 C.11.2.1.3.2 (LINEAR_EXACT) has it. Samples that are greys
already are only brought to 8 bit.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodrop.imaging.limits import Limits
from tomodrop.imaging.lungs import thumbnail
from tomodrop.imaging.volume import Grey

Samples = NDArray[Any]
# 12-bit CT: HU + 1024 from 0 to 4095. The last per cent may be metal beyond it.
_CT_NUMBERS = 4095
_LEAST_AIR_HU = -500.0
# Of the tables of greys: so coarse that the slices of a volume share one.
_TABLE_STEP = 1024
_GUESSED = "Window guessed: the source does not say what its samples mean; they were taken as {}."


@dataclass(frozen=True)
class Scale:
    """What samples mean: `value = slope * sample + offset` in Hounsfield units, or in 8-bit greys.

    `padding` (lowest, highest sample) marks what was not measured: it becomes black. `inverted`:
    the largest sample is the darkest.
    """

    slope: float = 1.0
    offset: float = 0.0
    is_hounsfield: bool = True
    padding: tuple[float, float] | None = None
    inverted: bool = False
    warnings: tuple[str, ...] = ()

    def described(self, limits: Limits) -> str:
        """The window, for people."""
        if not self.is_hounsfield:
            return "as displayed in the picture"
        return f"level {limits.window_level_hu:g} HU, width {limits.window_width_hu:g} HU"


_EIGHT_BIT = Scale(is_hounsfield=False)


def sample_of(plane: Samples) -> Samples:
    """Some samples of a plane, its smallest and its largest among them."""
    return np.concatenate([thumbnail(plane).ravel(), [plane.min(), plane.max()]]).astype(
        plane.dtype
    )


def guess_scale(samples: Samples) -> Scale:
    """What samples mean that come without a word about it.

    - reaching below -500: Hounsfield units (nothing else has air there);
    - never negative, at most 1 (floating point) or 255: greys;
    - never negative, 99 % of them at most 4095: HU + 1024, as 12-bit CT is stored;
    - 98 % of them within HU + 32768 for -3072 to 4095 HU: that;
    - otherwise greys over the range of 16 bit, or from the smallest sample to the largest.
    """
    flat = samples.astype(np.float64).ravel()
    flat = flat[np.isfinite(flat)] if np.isfinite(flat).any() else np.zeros(1)
    low, high = float(flat.min()), float(flat.max())
    if low < _LEAST_AIR_HU:
        return Scale()
    if low < 0:
        return _of_negative(low, high)
    if high <= 255:
        unit = samples.dtype.kind == "f" and high <= 1
        return Scale(255.0 if unit else 1.0, 0.0, is_hounsfield=False)
    return _of_positive(flat, low, high)


def _of_positive(values: Samples, low: float, high: float) -> Scale:
    first, last = np.percentile(values, [1, 99])
    if last <= _CT_NUMBERS:
        return Scale(1.0, -1024.0, warnings=(_GUESSED.format("Hounsfield units + 1024"),))
    if first >= 32768 - 3072 and last <= 32768 + _CT_NUMBERS:
        return Scale(1.0, -32768.0, warnings=(_GUESSED.format("Hounsfield units + 32768"),))
    return _of_range(0.0, 65535.0) if high <= 65535 else _of_range(low, high)


def _of_negative(low: float, high: float) -> Scale:
    if high - low > 255:
        return Scale(warnings=(_GUESSED.format("Hounsfield units, though none is air"),))
    return _of_range(low, high)


def _of_range(low: float, high: float) -> Scale:
    warnings = (_GUESSED.format("greys over their whole range"),)
    if (low, high) == (0.0, 65535.0):
        # The high byte, as Pillow and libpng reduce 16-bit colour: grey and colour stay equal.
        return Scale(1 / 256, -0.5, is_hounsfield=False, warnings=warnings)
    slope = 255.0 / (high - low) if high > low else 0.0
    return Scale(slope, -low * slope, is_hounsfield=False, warnings=warnings)


def to_grey(samples: Samples, scale: Scale, limits: Limits) -> Grey:
    """8-bit greys of samples of any type; what is no number becomes black."""
    gain, bias = _gain(scale, limits)
    if samples.dtype == np.uint8 and scale == _EIGHT_BIT:
        return samples
    if samples.dtype.kind in "iu" and samples.dtype.itemsize <= 2:
        native = samples.dtype.newbyteorder("=")
        low, high = int(samples.min()), int(samples.max())
        span = low // _TABLE_STEP, high // _TABLE_STEP
        table = _table(native.char, gain, bias, scale.padding, span, inverted=scale.inverted)
        unsigned = np.dtype(f"u{native.itemsize}")
        # Half the time of `table[...]`.
        return np.take(table, samples.astype(native, copy=False).view(unsigned))
    grey = _bounded(samples.astype(np.float32), gain, bias, inverted=scale.inverted)
    return _without_padding(grey, samples, scale.padding)


def _gain(scale: Scale, limits: Limits) -> tuple[float, float]:
    if not scale.is_hounsfield:
        return scale.slope, scale.offset
    to_eight_bit = 255.0 / limits.window_width_hu
    lowest = limits.window_level_hu - limits.window_width_hu / 2
    return scale.slope * to_eight_bit, (scale.offset - lowest) * to_eight_bit


@lru_cache(maxsize=64)
def _table(
    kind: str,
    gain: float,
    bias: float,
    padding: tuple[float, float] | None,
    span: tuple[int, int],
    *,
    inverted: bool,
) -> Grey:
    """The grey of each sample of an integer type of at most 16 bit, by its bits as unsigned.

    Only samples of `span` (first and last multiple of `_TABLE_STEP`) are in it: a process that
    decodes one slice pays for each page that it touches.
    """
    dtype = np.dtype(kind)
    ends = np.iinfo(dtype)
    first = max(int(ends.min), span[0] * _TABLE_STEP)
    last = min(int(ends.max), (span[1] + 1) * _TABLE_STEP - 1)
    samples = np.arange(first, last + 1).astype(dtype)
    grey = _bounded(samples.astype(np.float64), gain, bias, inverted=inverted)
    table: Grey = np.empty(256**dtype.itemsize, np.uint8)
    table[samples.view(f"u{dtype.itemsize}")] = _without_padding(grey, samples, padding)
    return table


def _bounded(values: NDArray[Any], gain: float, bias: float, *, inverted: bool) -> Grey:
    """`values` is overwritten, to hold one copy of a plane less."""
    values *= gain
    values += bias + 0.5
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    np.clip(values, 0.0, 255.0, out=values)
    grey = values.astype(np.uint8)
    return 255 - grey if inverted else grey


def _without_padding(grey: Grey, samples: Samples, padding: tuple[float, float] | None) -> Grey:
    if padding is not None:
        grey[(samples >= padding[0]) & (samples <= padding[1])] = 0
    return grey


def range_warnings(low: float, high: float) -> tuple[str, ...]:
    """What is odd about a volume whose Hounsfield units reach from `low` to `high`."""
    if low > _LEAST_AIR_HU or high < -200:
        found = f"Unusual pixel range: {low:.0f} to {high:.0f} HU; a chest has air and tissue."
        return (found,)
    return ()
