"""What is compared of a slice to tell how typical it is; the same for training and serving."""

import numpy as np
import numpy.typing as npt

from training.algorithm import appearance
from training.algorithm.appearance import Floats, Levels

FEATURES, LEVELS, TEXTURE, LAYOUT = "features", "levels", "texture", "layout"


def look_at(images: Levels, features: npt.ArrayLike) -> dict[str, Floats]:
    """Return the views of images (N, H, W, C) with these ``features`` (N, F)."""
    pictures = appearance.grey(images)
    return {
        FEATURES: np.asarray(features, dtype=np.float32),
        LEVELS: appearance.level_shares(pictures),
        TEXTURE: appearance.texture(pictures),
        LAYOUT: appearance.layout(pictures),
    }
