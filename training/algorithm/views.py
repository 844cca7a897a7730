"""What is compared of a slice to tell how typical it is; the same for training and serving."""

import torch

from training.algorithm import appearance

FEATURES, LEVELS, TEXTURE, LAYOUT = "features", "levels", "texture", "layout"


def look_at(images: torch.Tensor, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the views of images (N, C, H, W; uint8) with these ``features`` (N, F), on the CPU."""
    pictures = appearance.grey(images).cpu()
    return {
        FEATURES: features.float().cpu(),
        LEVELS: appearance.level_shares(pictures),
        TEXTURE: appearance.texture(pictures),
        LAYOUT: appearance.layout(pictures),
    }
