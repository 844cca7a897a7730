"""The picture beside a prediction: the class-activation maps of its slices that count.

For a volume that is the share of slices its probabilities are the mean of, so a picture is bounded
by `VolumeTopShare` and `MaxSlicesPerUpload`. One picture for all of an upload: it is put and
replaced in one step.
"""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from tomodrop import keys
from tomodrop.answers import Activation, Answer
from tomodrop.predictions import ClassMaps, Result, SliceMap
from tomodrop.slices import IndexLine

# Of one map, each way: a quarter of the largest ImageShape would be more, and be no map any more.
_MAX_SIDE = 256
_LEFT_OUT = "The model sent no class-activation map that can be read, so none is kept."
# What Pillow raises for bytes that are no picture.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def with_class_maps(
    result: Result, lines: Sequence[IndexLine], answers: Sequence[Answer]
) -> tuple[Result, bytes | None]:
    """The prediction with its maps named, and their picture; or with a warning, and None.

    `answers` are those for `lines`, in the same order.
    """
    used = result.volume.slices_used if result.volume else [lines[0].index]
    by_index = {line.index: answer for line, answer in zip(lines, answers, strict=True)}
    found = {index: by_index[index].activation for index in used}
    pictures = _open_all(list(found.values()))
    if pictures is None:
        return result.model_copy(update={"warnings": [*result.warnings, _LEFT_OUT]}), None
    width, height = pictures[0].size
    named = ClassMaps(
        key=keys.class_maps_key(result.source.key),
        width=width,
        height=height,
        maps=[
            SliceMap(index=index, label=each.label, low=each.low, high=each.high)
            for index, each in found.items()
            if each
        ],
    )
    return result.model_copy(update={"class_maps": named}), _stack(pictures)


def _open_all(maps: Sequence[Activation | None]) -> list[Image.Image] | None:
    """All maps as pictures of one size; None when one is absent, damaged or of another size."""
    pictures = [_open(each.png) if each else None for each in maps]
    there = [picture for picture in pictures if picture]
    one_size = len({picture.size for picture in there}) == 1
    return there if one_size and len(there) == len(maps) else None


def _open(png: bytes) -> Image.Image | None:
    try:
        with Image.open(BytesIO(png), formats=("PNG",)) as picture:
            if picture.mode != "L" or max(picture.size) > _MAX_SIDE:
                return None
            picture.load()
            return picture.copy()
    except _UNREADABLE:
        return None


def _stack(pictures: Sequence[Image.Image]) -> bytes:
    width, height = pictures[0].size
    sheet = Image.new("L", (width, height * len(pictures)))
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (0, place * height))
    encoded = BytesIO()
    sheet.save(encoded, "PNG")
    return encoded.getvalue()
