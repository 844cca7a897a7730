"""What a child answered (`answers`), judged by the function's process.

A child may have been taken over by what it decoded, so all that is read is checked.
"""

import json
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tomodrop.errors import UploadRejected
from tomodrop.imaging.normalised import NormalisedSlice
from tomodrop.pixels import Pixels
from tomodrop.sandbox.answers import LENGTH
from tomodrop.sandbox.pngs import is_plain_png

Text = Annotated[str, Field(max_length=2000)]


class BadAnswer(Exception):
    """A child answered with something that no honest child answers with."""


class DecoderFailed(Exception):
    """The decoder raised an error that is no rejection: `kind` is "memory" or the error's class."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _without_nan(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json.dumps(value, allow_nan=False)  # ValueError: there is one, which is no JSON
    return value


class _Slice(_Checked):
    png_bytes: int = Field(ge=1)
    processing: Annotated[dict[str, JsonValue], AfterValidator(_without_nan)]
    warnings: tuple[Text, ...]
    index: int = Field(ge=0)
    position_mm: float | None
    has_lung: bool
    pixels: Pixels | None = None


class _Slices(_Checked):
    kind: Literal["slices"]
    slices: Annotated[list[_Slice], Field(min_length=1)]


class _Rejection(_Checked):
    kind: Literal["rejected"]
    code: str = Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")
    message: Text
    remedy: Text


class _Failure(_Checked):
    kind: Literal["failed"]
    error: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")


class _Header(_Checked):
    answer: Annotated[_Slices | _Rejection | _Failure, Field(discriminator="kind")]


def parse(body: bytes, image_shape: tuple[int, int, int], max_slices: int) -> list[NormalisedSlice]:
    """The slices in an answer.

    Raises
    ------
    UploadRejected
        The child's own rejection of the upload.
    DecoderFailed
        The child says that its decoder failed.
    BadAnswer
        Anything else than a whole answer with slices of `image_shape` in order.
    """
    header, pictures = _split(body)
    try:
        answer = _Header.model_validate_json(header).answer
    except ValidationError:
        raise BadAnswer("the header is not as it should be") from None
    if isinstance(answer, _Rejection):
        raise UploadRejected(answer.code, answer.message, answer.remedy)
    if isinstance(answer, _Failure):
        raise DecoderFailed(answer.error)
    if len(answer.slices) > max_slices:
        raise BadAnswer("there are more slices than were asked for")
    places = [one.index for one in answer.slices]
    if any(later <= earlier for earlier, later in pairwise(places)):
        raise BadAnswer("the slices are not in order")
    return _with_pictures(answer.slices, pictures, image_shape)


def _split(body: bytes) -> tuple[bytes, memoryview]:
    if len(body) < LENGTH.size:
        raise BadAnswer("there is no header")
    (length,) = LENGTH.unpack_from(body)
    end = LENGTH.size + length
    if end > len(body):
        raise BadAnswer("the header is cut off")
    return bytes(body[LENGTH.size : end]), memoryview(body)[end:]


def _with_pictures(
    described: list[_Slice], pictures: memoryview, image_shape: tuple[int, int, int]
) -> list[NormalisedSlice]:
    if sum(one.png_bytes for one in described) != len(pictures):
        raise BadAnswer("the pictures have another size than was said")
    slices, place = [], 0
    for one in described:
        png = bytes(pictures[place : place + one.png_bytes])
        place += one.png_bytes
        if not is_plain_png(png, image_shape):
            raise BadAnswer("a picture is no plain PNG of the shape that was asked for")
        values = one.model_dump(exclude={"png_bytes", "pixels"})
        slices.append(NormalisedSlice(png=png, pixels=one.pixels, **values))
    return slices
