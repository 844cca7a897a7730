"""What reading an upload gives: planes in display orientation, and what was done to get them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """One axial plane as a viewer shows it: the patient's right at the left, anterior at the top.

    `grey` (height, width) is windowed to 8 bit. `position_mm` is the plane's place along the
    patient's axis, growing towards the head; None where the source does not say.
    """

    grey: Grey
    index: int
    position_mm: float | None
    has_lung: bool


@dataclass(frozen=True)
class Volume:
    """The planes of one upload, from the feet to the head where positions are known.

    `processing` holds numbers and names of our own, never text of the file. `left_out` names by
    position what was not read ("file 3 of 40: localizer").
    """

    planes: tuple[Plane, ...]
    processing: dict[str, Any]
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
