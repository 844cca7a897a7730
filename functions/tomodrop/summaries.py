"""Many slices in a few counts, which can be added: what a day brought, and what a model learnt.

Each number of `pixels.Pixels` has a fixed scale, cut into cells of equal width; a summary counts
the slices in each. So summaries of jobs add up to that of a day, in any order, and that of millions
of slices takes no more room than that of ten. Retrain counts its training half on the same scales.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tomodrop.pixels import WHITE, Pixels


@dataclass(frozen=True)
class Scale:
    """A scale from 0, with so many cells to one; the last cell begins at its end."""

    cells_to_one: int
    cells: int

    def cell(self, value: float) -> int:
        """The cell that a value falls into; one beyond an end belongs to the outermost."""
        return min(self.cells - 1, max(0, int(value * self.cells_to_one)))


# A grey level wide, and a percent.
SCALES: Mapping[str, Scale] = {
    "mean": Scale(1, WHITE + 1),
    "spread": Scale(1, WHITE // 2 + 2),
    "lit_share": Scale(100, 101),
}
# Of the probability of the predicted class.
CONFIDENCE_CELLS = 10
_CONFIDENCE = Scale(CONFIDENCE_CELLS, CONFIDENCE_CELLS)


class Summary(BaseModel):
    """Counts of uploads, and of those slices of theirs that count (they show lung).

    `pixels`: by number, slices in each cell of its scale. `classes`: uploads by class, predicted or
    labelled. `confidence`: uploads by the probability of the predicted class, in
    `CONFIDENCE_CELLS` cells.
    """

    model_config = ConfigDict(extra="forbid")

    uploads: int = Field(default=0, ge=0)
    slices: int = Field(default=0, ge=0)
    pixels: dict[str, list[int]] = Field(
        default_factory=lambda: {name: [0] * scale.cells for name, scale in SCALES.items()}
    )
    classes: Counter[str] = Field(default_factory=Counter)
    confidence: list[int] = Field(default_factory=lambda: [0] * CONFIDENCE_CELLS)

    @field_validator("pixels")
    @classmethod
    def _refuse_other_scales(cls, pixels: dict[str, list[int]]) -> dict[str, list[int]]:
        if {name: len(counts) for name, counts in pixels.items()} != {
            name: scale.cells for name, scale in SCALES.items()
        }:
            message = "the scales are of another version"
            raise ValueError(message)
        return pixels

    def count_upload(self, label: str, probability: float | None = None) -> None:
        """Take an upload in; `probability` of its class, if it was predicted."""
        self.uploads += 1
        self.classes[label] += 1
        if probability is not None:
            self.confidence[_CONFIDENCE.cell(probability)] += 1

    def count_slice(self, pixels: Pixels | None) -> None:
        """Take a slice in, unless it is of an earlier intake that left no numbers."""
        if pixels is not None:
            self.count_numbers(pixels.mean, pixels.spread, pixels.lit_share)

    def count_numbers(self, mean: float, spread: float, lit_share: float) -> None:
        """Take in a slice with these numbers."""
        self.slices += 1
        for (name, scale), value in zip(SCALES.items(), (mean, spread, lit_share), strict=True):
            self.pixels[name][scale.cell(value)] += 1

    def __add__(self, other: Self) -> "Summary":
        """What both counted."""
        return Summary(
            uploads=self.uploads + other.uploads,
            slices=self.slices + other.slices,
            pixels={name: _sum(self.pixels[name], other.pixels[name]) for name in SCALES},
            classes=self.classes + other.classes,
            confidence=_sum(self.confidence, other.confidence),
        )


def summary_of_training(record: Mapping[str, Any]) -> Summary | None:
    """The training half, as retrain noted it in `job.json`; None if it noted none, or another way.

    `greys`: slices by number and cell. `uploads`: of each half; groups stand in where they lack.
    `slices`: of each half by class.
    """
    try:
        uploads = record.get("uploads", record["groups"])["train"]
        classes = Counter(record["slices"]["train"])
        greys = record["greys"]
        return Summary(uploads=uploads, slices=sum(greys["mean"]), pixels=greys, classes=classes)
    except (KeyError, ValidationError):
        return None


class JobStatistics(BaseModel):
    """`reports/<batch>/<job>/statistics.json`: what a job of a model (its training) predicted."""

    model_config = ConfigDict(frozen=True)

    job: str
    model: str
    summary: Summary


def _sum(first: list[int], second: list[int]) -> list[int]:
    return [one + other for one, other in zip(first, second, strict=True)]
