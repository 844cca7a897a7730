"""How a picture looks, whatever it shows: its greys, its texture, its layout.

A network learns to see past window, sharpness and framing, so its features alone miss a slice
that differs in these. The measures are those of any image size, from pixels as the network gets
them, and each is a vector with a meaning of its own.
"""

import torch
from torch.nn import functional

_LEVELS = 16
_RINGS = 12
_CELLS = 8
_LEAST_POWER = 1e-3


def grey(images: torch.Tensor) -> torch.Tensor:
    """Return the mean over channels as 0…1, (N, H, W), of uint8 images (N, C, H, W)."""
    return images.float().mean(dim=1).div_(255)


def level_shares(pictures: torch.Tensor) -> torch.Tensor:
    """Return the root of the share of pixels in each of 16 bands of grey, (N, 16).

    The root (as in Hellinger's distance) keeps the rare bands from vanishing beside the black.
    """
    bands = pictures.mul(_LEVELS).long().clamp_(max=_LEVELS - 1).flatten(1)
    counts = torch.zeros(len(bands), _LEVELS)
    counts.scatter_add_(1, bands, torch.ones_like(bands, dtype=counts.dtype))
    return counts.div_(bands.shape[1]).sqrt_()


def texture(pictures: torch.Tensor) -> torch.Tensor:
    """Return the mean power in 12 rings of spatial frequency, as log10, (N, 12).

    The rings go from one wave per picture to one in two pixels, each as much wider than the last.
    In small pictures a ring may be without a frequency, and has the least power.
    """
    height, width = pictures.shape[1:]
    window = torch.outer(_taper(height), _taper(width))
    flat = pictures - pictures.mean(dim=(1, 2), keepdim=True)
    power = torch.fft.fft2(flat * window).abs().square().flatten(1)
    rings = _rings(height, width)
    means: torch.Tensor = power @ (rings / rings.sum(0).clamp_min(1))
    return means.clamp_min(_LEAST_POWER).log10()


def layout(pictures: torch.Tensor) -> torch.Tensor:
    """Return the mean grey of 8 x 8 cells, (N, 64)."""
    return functional.adaptive_avg_pool2d(pictures[:, None], _CELLS).flatten(1)


def _taper(length: int) -> torch.Tensor:
    """Fade the edges, which would look like texture."""
    return torch.hann_window(length, periodic=False)


def _rings(height: int, width: int) -> torch.Tensor:
    """Return which frequencies (rows) belong to which ring (columns)."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    lowest = 1 / max(height, width)
    steps = torch.arange(_RINGS + 1) / _RINGS
    edges = lowest * (0.5 / lowest) ** steps
    flat = frequency.flatten()[:, None]
    # The lowest frequency must not be rounded out of its ring.
    return ((flat >= edges[:-1] * (1 - 5e-7)) & (flat < edges[1:])).float()
