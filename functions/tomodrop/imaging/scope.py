"""Whether a picture can be a CT slice at all: what plainly is none is refused, what may be none is
warned of.

A picture says nothing of its modality, so its pixels must. Colour is no guess: CT has none. Greys
are: through the lung window soft tissue is close to white and lung dark within it.
Measured: no false alarm on the 1,733 slices of the SARS-CoV-2 CT-scan set; all 17 pictures of brain
MRI are warned of; of PngSuite 111 pictures are refused as colour, 48 warned of, 4 pass.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tomodrop.errors import UploadRejected
from tomodrop.imaging.lungs import LEAST_LUNG, Look

_SAMPLED_PX = 96
# Differences between the channels of one pixel, of 255. JPEG gives greys up to some 20.
_TINTED, _COLOURED = 24, 48
# A frame, an arrow or a text may be coloured in the picture of a slice.
_LEAST_TINTED_SHARE, _LEAST_COLOURED_SHARE = 0.02, 0.1
# Of 1,733 CT slices the bright class has means from 210 to 253, the dark one from 66 to 135, and
# dark are 4 to 64 %.
_BRIGHT_MEAN = (195.0, 255.0)
_DARK_MEAN = (40.0, 150.0)
_DARK_SHARE = (0.02, 0.75)


_OUT_OF_SCOPE = (
    "Out of scope? The picture does not look like an axial CT slice of the chest through a lung "
    "window; the result may mean nothing."
)


@dataclass(frozen=True)
class Colour:
    """Shares of a picture's pixels that are tinted at least, and strongly coloured."""

    tinted: float = 0.0
    strong: float = 0.0


def colour_of(rgb: Image.Image) -> Colour:
    """How colourful a picture of mode RGB is, by a sample of its pixels."""
    width, height = (min(side, _SAMPLED_PX) for side in rgb.size)
    sample = np.asarray(rgb.resize((width, height), Image.Resampling.NEAREST), dtype=np.int16)
    spread = sample.max(axis=2) - sample.min(axis=2)
    return Colour(float((spread > _TINTED).mean()), float((spread > _COLOURED).mean()))


def check_colour(colour: Colour) -> tuple[str, ...]:
    """Warn of a tint.

    Raises
    ------
    UploadRejected
        `not_a_ct_slice`: a tenth of the picture is in strong colour.
    """
    if colour.strong >= _LEAST_COLOURED_SHARE:
        raise UploadRejected(
            "not_a_ct_slice",
            f"{colour.strong:.0%} of the picture is in strong colour; CT slices are grey.",
            "Upload the slice itself in grey, without a colour map or an overlay.",
        )
    if colour.tinted >= _LEAST_TINTED_SHARE:
        return ("Coloured: parts of the picture are in colour, which CT slices are not.",)
    return ()


def look_warnings(look: Look) -> tuple[str, ...]:
    """What speaks against an axial slice of the chest through a lung window."""
    if (
        _within(look.bright_mean, _BRIGHT_MEAN)
        and _within(look.dark_mean, _DARK_MEAN)
        and _within(look.dark_share, _DARK_SHARE)
        and look.lung_share >= LEAST_LUNG
    ):
        return ()
    return (_OUT_OF_SCOPE,)


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]
