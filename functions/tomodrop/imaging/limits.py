"""What an upload may ask of the decoders, and the window that Hounsfield units are seen through."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one upload; beyond one of them it is rejected.

    `max_ratio`: decompressed to compressed bytes, looked at beyond `free_bytes` only, for small
    files of one value compress a thousandfold. `max_decoded_bytes` bounds what an upload inflates
    to, and its pixels. The window is in Hounsfield units; its defaults are the lung window.
    """

    max_side_px: int = 4096
    max_pixels_per_plane: int = 4096 * 4096
    max_planes: int = 2000
    max_archive_files: int = 10_000
    max_ratio: float = 200.0
    free_bytes: int = 64 * 1024**2
    max_decoded_bytes: int = 1024**3
    window_level_hu: float = -600.0
    window_width_hu: float = 1500.0
