"""What an upload may ask of the decoders, and the window that Hounsfield units are seen through."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one upload; beyond one of them it is rejected.

    `max_ratio`: decompressed to compressed bytes. The window is in Hounsfield units; its defaults
    are the lung window.
    """

    max_pixels_per_plane: int = 4096 * 4096
    max_planes: int = 1000
    max_ratio: float = 200.0
    max_decoded_bytes: int = 1024**3
    window_level_hu: float = -600.0
    window_width_hu: float = 1500.0
