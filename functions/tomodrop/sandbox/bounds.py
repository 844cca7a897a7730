"""What a child may use, and how the zygote is told."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from tomodrop.imaging.formats import Family
from tomodrop.imaging.limits import Limits

MIB = 1024 * 1024
# Beside its pixels, what a slice's description and its PNG's frame take at most.
_BYTES_BESIDE_PIXELS = 64 * 1024
NORMALISE = "tomodrop.imaging.normaliser:normalise"


@dataclass(frozen=True)
class Bounds:
    """Limits of one child.

    `memory_mb` (MiB) counts from what the warm process has already; the upload is part of it.
    `seconds` bounds its time by the clock, and its processor time as well, should the clock's
    keeper have stopped; an upload may be given less.
    """

    memory_mb: int = 1536
    seconds: float = 20.0


@dataclass(frozen=True)
class Setup:
    """Everything a zygote is started with.

    `decode`: `module:function`, called as `function(body, image_shape, limits)` and answering with
    normalised slices; its module may have a function `warm_up(family)`. `parent`: the process that
    the zygote must not outlive. `family`: of the uploads that it is for; it reads others, slower.
    """

    image_shape: tuple[int, int, int]
    parent: int
    decode: str = NORMALISE
    family: Family = Family.ALL
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def max_answer_bytes(self) -> int:
        """Most bytes that a child may answer with."""
        channels, height, width = self.image_shape
        return self.limits.max_planes * (channels * height * width + _BYTES_BESIDE_PIXELS)

    def to_json(self) -> str:
        """As text, for a command line."""
        return json.dumps(asdict(self) | {"family": self.family.value})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        values = json.loads(text)
        channels, height, width = values.pop("image_shape")
        return cls(
            image_shape=(channels, height, width),
            family=Family(values.pop("family")),
            limits=Limits(**values.pop("limits")),
            bounds=Bounds(**values.pop("bounds")),
            **values,
        )
