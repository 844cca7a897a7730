"""How much of an axial slice is lung: which slices of a study are worth learning from."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped] # it has no stubs

AIR_HU = -400.0
"""Between soft tissue (about 0) and aerated lung (about -850); ground glass lies below as well."""
MIN_SHARE = 0.1
STEP = 2


def lung_share(hounsfield: NDArray[np.float32]) -> float:
    """The share of the body's cross-section that is air inside it, 0…1.

    Parameters
    ----------
    hounsfield
        One axial slice, (rows, columns).

    Every second pixel is looked at. The body is the largest connected region above -400 HU with
    its holes filled; what lies in it and is not above -400 HU is lung. So the air around the
    patient, and between patient and table, does not count; airways of the neck (about 0.02) and
    gas in the bowel do, but stay below `MIN_SHARE`.
    """
    dense = hounsfield[::STEP, ::STEP] > AIR_HU
    labels, count = ndimage.label(dense)
    if count == 0:
        return 0.0
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = ndimage.binary_fill_holes(labels == sizes.argmax())
    return float((body & ~dense).sum() / body.sum())
