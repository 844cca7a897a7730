"""A decoded picture as a volume: its pages are the planes, in the file's order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodrop.imaging.limits import Limits
from tomodrop.imaging.pictures import Picture, decode
from tomodrop.imaging.rendering import Rendered, content_warnings, planes_of, render
from tomodrop.imaging.scope import check_colour, look_warnings
from tomodrop.imaging.volume import Volume
from tomodrop.imaging.windowing import Scale, guess_scale, sample_of

_NO_SCALE = "No Hounsfield scale: a picture carries none, its window was taken as it is."
LOSSY = "Lossy source: JPEG compression can hide or imitate fine texture."
_EIGHT_BIT = Scale(is_hounsfield=False)


def read_picture(body: bytes, limits: Limits) -> Volume:
    """Every page of a picture.

    Raises
    ------
    UploadRejected
        `not_a_ct_slice`, `too_small`, or as `pictures.decode` says.
    """
    return volume_of([decode(body, limits)], limits)


def volume_of(
    pictures: Sequence[Picture], limits: Limits, left_out: tuple[str, ...] = ()
) -> Volume:
    """Pictures of one kind and size as the planes of a volume.

    Raises
    ------
    UploadRejected
        `not_a_ct_slice` or `too_small`
    """
    first = pictures[0]
    pages = [page for picture in pictures for page in picture.pages]
    scale = _EIGHT_BIT if first.bits == 8 else guess_scale(_sample(pages))
    warnings = [text for picture in pictures for text in check_colour(picture.colour)]
    rendered = [render(page, scale, limits) for page in pages]
    height, width = pages[0].shape
    processing: dict[str, Any] = {
        "format": first.format,
        "mode": first.mode,
        "bits": first.bits,
        "width_px": width,
        "height_px": height,
        "window": scale.described(limits),
    }
    warnings += [*scale.warnings, *_content(scale, rendered)]
    if any(picture.is_lossy for picture in pictures):
        warnings.append(LOSSY)
        processing["lossy"] = True
    if first.alpha:
        processing["alpha"] = first.alpha
    return Volume(
        planes=tuple(planes_of(rendered, [None] * len(rendered))),
        processing=processing,
        warnings=tuple(dict.fromkeys(warnings)),
        left_out=(*left_out, *(text for picture in pictures for text in picture.left_out)),
    )


def _sample(pages: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([sample_of(page) for page in pages])


def _content(scale: Scale, rendered: list[Rendered]) -> tuple[str, ...]:
    if scale.is_hounsfield:
        return content_warnings(rendered)
    looks = [look_warnings(one.look) for one in rendered if one.look is not None]
    # A volume holds slices above and below the lungs: one that looks right speaks for all.
    return (_NO_SCALE, *min(looks, key=len, default=()))
