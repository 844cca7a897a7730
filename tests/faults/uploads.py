"""What users put in: each version of each upload is like no other, so that a mix-up shows."""

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from typing import Literal

from PIL import Image

from tests.faults.sagemaker import positive_of

Kind = Literal["picture", "volume", "damaged"]
INCOMING = ("incoming/a b+ü.png", "incoming/ward/b.png", "incoming/c.png")
LABELLED = ("labelled/covid/p1/d.png", "labelled/non_covid/p2/e.png")
KINDS: tuple[Kind, ...] = ("picture", "picture", "picture", "volume", "damaged")
_SIDE_PX = 32


@dataclass(frozen=True)
class Version:
    """One version of one upload, in the order in which they were put (`rank`)."""

    key: str
    rank: int
    kind: Kind
    body: bytes
    version_id: str
    etag: str
    put_at: float

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def positives(self) -> list[float]:
        """What the model is to say of each slice."""
        return [positive_of(grey) for grey in greys_of(self.rank, self.kind)]


def greys_of(rank: int, kind: Kind) -> list[int]:
    """The greys of the slices of a version, different for each version of a schedule."""
    if kind == "damaged":
        return []
    first = (2 * rank) % 256
    return [first, first + 1] if kind == "volume" else [first]


@cache
def body_of(rank: int, kind: Kind) -> bytes:
    """The file of a version."""
    if kind == "damaged":
        return b"\x89PNG\r\n\x1a\ndamaged" + str(rank).encode()
    first, *others = [Image.new("L", (_SIDE_PX, _SIDE_PX), grey) for grey in greys_of(rank, kind)]
    buffer = io.BytesIO()
    if others:
        first.save(buffer, "TIFF", save_all=True, append_images=others)
    else:
        first.save(buffer, "PNG")
    return buffer.getvalue()


def sequencer_of(number: int) -> str:
    """Grows with the number as S3's do: texts of unequal length, padded with zeros on the right."""
    return f"{number // 2:04X}" + ("5F" if number % 2 else "")
