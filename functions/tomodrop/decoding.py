"""The sandbox of a function's process, made from its settings: intake's part of the composition."""

import math
from functools import cache

from tomodrop.clients import app
from tomodrop.imaging.limits import Limits
from tomodrop.sandbox.bounds import Bounds
from tomodrop.sandbox.parent import Sandbox
from tomodrop.settings import Settings


def sandbox_of(settings: Settings) -> Sandbox:
    """A sandbox for uploads as these settings want them. It starts with its first use."""
    limits = Limits(
        # A strip is padded to the square of its longer side, so that square is bounded too.
        max_side_px=math.isqrt(settings.max_pixels_per_slice),
        max_pixels_per_plane=settings.max_pixels_per_slice,
        max_planes=settings.max_slices_per_upload,
        window_level_hu=settings.lung_window_level_hu,
        window_width_hu=settings.lung_window_width_hu,
    )
    bounds = Bounds(memory_mb=settings.decode_memory_mb, seconds=settings.decode_seconds)
    return Sandbox(settings.image_shape, limits, bounds)


@cache
def sandbox() -> Sandbox:
    """The process's own sandbox: one warm process for all its invocations."""
    return sandbox_of(app().settings)
