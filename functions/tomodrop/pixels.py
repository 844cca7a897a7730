"""A normalised slice in a few numbers: enough to compare what comes in with what was learnt from.

It stands alone, so that naming it loads no imaging library.
"""

import hashlib
import math
from collections.abc import Sequence
from operator import mul

from pydantic import BaseModel, ConfigDict, Field

# Air, and the black that a slice is padded with, are darker in the lung window; so are most lungs
# brighter. A tenth of the greys.
LIT_FROM = 26
WHITE = 255
_GREYS = tuple(range(WHITE + 1))
_SQUARES = tuple(grey * grey for grey in _GREYS)


class Pixels(BaseModel):
    """Greys (0…255) of one normalised slice, padding included.

    `mean` and `spread` (standard deviation) in grey levels; `lit_share`: of pixels of at least
    `LIT_FROM`; `sha256` of the grey pixels row by row, the same for the same picture however it was
    packed; `phash`, a perceptual hash of 256 bits, empty in lines of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float = Field(ge=0, le=WHITE)
    spread: float = Field(ge=0, le=WHITE / 2)
    lit_share: float = Field(ge=0, le=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    phash: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


def pixels_of(histogram: Sequence[int], greys: bytes, phash: str = "") -> Pixels:
    """Sum a slice up from how often each of the 256 greys occurs, its bytes and perceptual hash.

    Raises
    ------
    ValueError
        There is no pixel.
    """
    count = sum(histogram)
    if not count:
        message = "a slice without pixels cannot be summed up"
        raise ValueError(message)
    mean = sum(map(mul, _GREYS, histogram)) / count
    square = sum(map(mul, _SQUARES, histogram)) / count
    return Pixels(
        mean=round(mean, 3),
        spread=round(math.sqrt(max(0.0, square - mean * mean)), 3),
        lit_share=round(sum(histogram[LIT_FROM:]) / count, 5),
        sha256=hashlib.sha256(greys).hexdigest(),
        phash=phash,
    )
