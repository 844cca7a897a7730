"""What users put in: each version of each upload is like no other, so that a mix-up shows."""

import hashlib
import io
import json
import random
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

from PIL import Image

from local.s3_events import ObjectChange, notification
from tests.functions.builders import ACCOUNT
from tomodrop import keys

Kind = Literal["picture", "volume", "damaged"]
INCOMING = ("incoming/a b+ü.png", "incoming/ward/b.png", "incoming/c.png")
# By their names' hashes p1, p4, n1 and n3 are held out, if half of the groups are.
LABELLED = (
    "labelled/covid/p1/d.png",
    "labelled/non_covid/n1/e.png",
    "labelled/covid/p2/f.png",
    "labelled/non_covid/n2/g.png",
    "labelled/covid/p4/h.png",
    "labelled/non_covid/n3/i.png",
)
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

    @property
    def upload_id(self) -> str:
        """What the names of its slices begin with."""
        return keys.upload_id(self.key, self.version_id, self.etag)

    def notification(self, bucket: str, time: datetime) -> str:
        """The body of the message that S3 sends of it."""
        change = ObjectChange(
            event_name="s3:ObjectCreated:Put",
            event_time=time.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            region="us-east-1",
            account=ACCOUNT,
            bucket=bucket,
            configuration_id="simulated",
            key=self.key,
            version_id=self.version_id,
            etag=self.etag,
            size=len(self.body),
            sequencer=sequencer_of(self.rank),
        )
        return json.dumps(notification(change))


def positive_of(grey: int) -> float:
    """What every model says of a picture of one grey: each has a probability of its own."""
    return round((grey + 1) / 257, 6)


def greys_of(rank: int, kind: Kind) -> list[int]:
    """The greys of the slices of a version, different for each version of a schedule."""
    if kind == "damaged":
        return []
    first = (2 * rank) % 256
    return [first, first + 1] if kind == "volume" else [first]


@cache
def body_of(rank: int, kind: Kind, *, is_labelled: bool = False) -> bytes:
    """The file of a version. Of labelled ones, plain greys would be taken for copies."""
    if kind == "damaged":
        return b"\x89PNG\r\n\x1a\ndamaged" + str(rank).encode()
    draw = _noise if is_labelled else _plain
    first, *others = [draw(grey) for grey in greys_of(rank, kind)]
    buffer = io.BytesIO()
    if others:
        first.save(buffer, "TIFF", save_all=True, append_images=others)
    else:
        first.save(buffer, "PNG")
    return buffer.getvalue()


def _plain(grey: int) -> Image.Image:
    return Image.new("L", (_SIDE_PX, _SIDE_PX), grey)


def _noise(seed: int) -> Image.Image:
    pixels = random.Random(seed).randbytes(_SIDE_PX * _SIDE_PX)
    return Image.frombytes("L", (_SIDE_PX, _SIDE_PX), pixels)


def sequencer_of(number: int) -> str:
    """Grows with the number as S3's do: texts of unequal length, padded with zeros on the right."""
    return f"{number // 2:04X}" + ("5F" if number % 2 else "")
