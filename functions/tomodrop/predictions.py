"""The JSON that users get: one schema for predictions and rejections.

`python -m tomodrop.predictions` prints `docs/prediction.schema.json`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from tomodrop.answers import Answer
from tomodrop.references import BatchReference, ModelReference, Strict
from tomodrop.slices import IndexLine, Source
from tomodrop.volumes import RULE, shows_lung, volume_probabilities

NOTICE = "Research use only. Not a medical device: do not use for diagnosis or treatment decisions."
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

Probability = Annotated[float, Field(ge=0, le=1)]
Typicality = Annotated[
    Probability | SkipJsonSchema[None],
    Field(
        description="share of held-out slices that are less typical; absent when the model does "
        "not tell",
        exclude_if=lambda value: value is None,
        json_schema_extra=lambda shown: shown.pop("default", None),
    ),
]


class ResultSource(Strict):
    """The upload version that this result answers."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    sequencer: str | None = Field(description="S3's order of versions; null when none was given")
    size_bytes: int = Field(ge=0)
    sha256: str | None = Field(description="null when the upload was not read")


class Prediction(Strict):
    """The most probable class; `index` is its place in the model's classes.

    Probabilities are the calibrated ones where the model has them. `typicality` is the middle one
    of the slices of a volume.
    """

    label: str
    index: int = Field(ge=0)
    probability: Probability
    probabilities: dict[str, Probability]
    typicality: Typicality = None


class SliceResult(Strict):
    """One slice of a volume: `position_mm` along the volume's axis, if the source knows it."""

    index: int = Field(ge=0)
    position_mm: float | None
    has_lung: bool = Field(
        default=True, description="slices without lung do not count for the volume"
    )
    probabilities: dict[str, Probability]
    typicality: Typicality = None


class VolumeReading(Strict):
    """How the volume's probabilities were made from its slices'; indexes are those of `slices`."""

    rule: str
    top_share: float = Field(gt=0, le=1)
    slices_used: list[int]
    slices_without_lung: list[int]


class SliceMap(Strict):
    """One map: of slice `index`, for class `label`; grey g is low + (high - low) · g / 255."""

    index: int = Field(ge=0)
    label: str
    low: float
    high: float


class ClassMaps(Strict):
    """Where scores come from: class-activation maps as a grey PNG at `key`, beside this JSON.

    The maps of the slices that count lie one below the other, each `width` by `height` cells that
    are spread over the whole slice; `maps` tells what they are, from the top.
    """

    key: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    maps: list[SliceMap]


class Rejection(Strict):
    """Why there is no prediction: a stable code, what is wrong, and what to do."""

    code: str
    message: str
    remedy: str


class Result(Strict):
    """What lies at `predictions/<path>.json` or `rejected/<path>.json`."""

    schema_version: Literal["1.0"] = "1.0"
    status: Literal["predicted", "rejected"]
    source: ResultSource
    prediction: Prediction | None = None
    slices: list[SliceResult] | None = Field(
        default=None, description="only for uploads of many slices"
    )
    volume: VolumeReading | None = Field(
        default=None, description="only for uploads of many slices"
    )
    class_maps: ClassMaps | None = Field(
        default=None, description="only when KeepClassMaps asks for it"
    )
    rejection: Rejection | None = None
    model: ModelReference | None = None
    processing: dict[str, Any] | None = Field(
        default=None, description="what was done to the pixels"
    )
    batch: BatchReference | None = None
    warnings: list[str] = Field(default=[])
    created_at: datetime
    notice: str = NOTICE

    def to_json(self) -> bytes:
        """UTF-8 JSON; what does not apply to the upload is left out, what is unknown is null."""
        dumped = self.model_dump(mode="json")
        shown = {name: value for name, value in dumped.items() if value is not None}
        return json.dumps(shown, ensure_ascii=False, indent=2).encode() + b"\n"


def _result_source(source: Source) -> ResultSource:
    return ResultSource(
        bucket=source.bucket,
        key=source.key,
        version_id=source.version_id or None,
        etag=source.etag,
        sequencer=source.sequencer or None,
        size_bytes=source.size_bytes,
        sha256=source.sha256 or None,
    )


@dataclass(frozen=True)
class Rules:
    """How answers are read: the share of a volume's slices that counts, and what is too atypical.

    A result less typical than `minimum_typicality` carries a warning.
    """

    top_share: float = 1.0
    minimum_typicality: float = 0.0


def predicted(
    lines: list[IndexLine],
    answers: list[Answer],
    classes: list[str],
    model: ModelReference,
    batch: BatchReference,
    rules: Rules = Rules(),
) -> Result:
    """The result of one upload from the answers for its slices, in the same order.

    An upload of several slices is read by the rule of `volumes.volume_probabilities`, and is as
    typical as the middle one of its slices that count.
    """
    read = volume_probabilities(lines, [list(answer.best) for answer in answers], rules.top_share)
    index = max(range(len(read.probabilities)), key=read.probabilities.__getitem__)
    is_volume = len(lines) > 1
    typicality = _typicality(lines, answers)
    warnings = _warnings(lines)
    if is_atypical(typicality, rules.minimum_typicality):
        warnings.append(_say_atypical(typicality, len(lines)))
    return Result(
        status="predicted",
        source=_result_source(lines[0].source),
        prediction=Prediction(
            label=classes[index],
            index=index,
            probability=read.probabilities[index],
            probabilities=dict(zip(classes, read.probabilities, strict=True)),
            typicality=typicality,
        ),
        slices=_slice_results(lines, answers, classes) if is_volume else None,
        volume=_volume_reading(lines, read.used, rules.top_share) if is_volume else None,
        model=model,
        processing=lines[0].processing,
        batch=batch,
        warnings=warnings,
        created_at=datetime.now(UTC),
    )


def _typicality(lines: list[IndexLine], answers: list[Answer]) -> float | None:
    """The middle one of the slices that count; None when the model does not tell of each."""
    pairs = list(zip(lines, answers, strict=True))
    counting = [answer for line, answer in pairs if shows_lung(line)] or answers
    told = [answer.typicality for answer in counting if answer.typicality is not None]
    return median(told) if len(told) == len(counting) else None


def is_atypical(typicality: float | None, minimum: float) -> TypeGuard[float]:
    """Whether a typicality is known, and too low."""
    return typicality is not None and typicality < minimum


def _say_atypical(typicality: float, slice_count: int) -> str:
    what = "this slice" if slice_count == 1 else "the middle one of these slices"
    share = f"only {typicality * 100:.1f} % of held-out slices are"
    few = share if typicality else "no held-out slice is"
    return (
        f"Atypical: {few} less typical than {what}. The model has not seen the like, and its "
        "probabilities may mean nothing."
    )


def _volume_reading(lines: list[IndexLine], used: list[int], top_share: float) -> VolumeReading:
    return VolumeReading(
        rule=RULE,
        top_share=top_share,
        slices_used=[lines[place].index for place in used],
        slices_without_lung=[line.index for line in lines if not shows_lung(line)],
    )


def _warnings(lines: list[IndexLine]) -> list[str]:
    """What was said of the slices, each once, and how many slices do not count."""
    said = dict.fromkeys(text for line in lines for text in line.warnings)
    without_lung = sum(not shows_lung(line) for line in lines)
    if without_lung == len(lines):
        said["No slice was found to show lung, so all of them count."] = None
    elif without_lung:
        said[f"{without_lung} of {len(lines)} slices show no lung and do not count."] = None
    return list(said)


def _slice_results(
    lines: list[IndexLine], answers: list[Answer], classes: list[str]
) -> list[SliceResult]:
    return [
        SliceResult(
            index=line.index,
            position_mm=line.position_mm,
            has_lung=line.has_lung,
            probabilities=dict(zip(classes, answer.best, strict=True)),
            typicality=answer.typicality,
        )
        for line, answer in zip(lines, answers, strict=True)
    ]


def rejected(source: Source, rejection: Rejection, batch: BatchReference | None = None) -> Result:
    """The result of an upload that cannot be answered."""
    return Result(
        status="rejected",
        source=_result_source(source),
        rejection=rejection,
        batch=batch,
        created_at=datetime.now(UTC),
    )


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `Result`: exactly one of prediction and rejection."""
    described = Result.model_json_schema()
    described["$schema"] = SCHEMA_ID
    described["title"] = "Tomodrop result"
    described["required"] = sorted({*described["required"], "schema_version", "notice", "warnings"})
    described["oneOf"] = [
        {
            "properties": {"status": {"const": status}, there: {"type": "object"}},
            "required": [there],
            "not": {"required": [absent]},
        }
        for status, there, absent in (
            ("predicted", "prediction", "rejection"),
            ("rejected", "rejection", "prediction"),
        )
    ]
    return described


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))  # noqa: T201 - this is its output
