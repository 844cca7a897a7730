"""What the normaliser answers with. It stands alone, so that naming it loads no imaging library."""

from dataclasses import dataclass
from typing import Any

from tomodrop.pixels import Pixels


@dataclass(frozen=True)
class NormalisedSlice:
    """A slice as the model sees it (PNG bytes), and how it came about.

    `index`: its place among the upload's slices, from 0. `position_mm`: along the volume's axis,
    None where the source does not say. `has_lung`: whether it shows lung at all. `pixels`: the
    greys in a few numbers.
    """

    png: bytes
    processing: dict[str, Any]
    warnings: tuple[str, ...]
    index: int = 0
    position_mm: float | None = None
    has_lung: bool = True
    pixels: Pixels | None = None
