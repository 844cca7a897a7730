"""What a transform job answered: outputs matched to slices by id, never by position."""

import base64
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.errors import AnswerError
from tomodrop.keys import EvaluationName, JobName

# A softmax of 32-bit floats sums to 1 within this much.
_SUM_TOLERANCE = 1e-2


# A map has a grey per cell of a grid some dozen cells wide.
_MAX_MAP_BYTES = 128 * 1024


@dataclass(frozen=True)
class Activation:
    """A class-activation map, still a PNG: where the score of the class `label` comes from.

    Grey g stands for `low` + (`high` - `low`) · g / 255.
    """

    png: bytes
    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """What the model said of one slice, by class in the model's order.

    `calibrated` and `typicality` (the share of held-out slices that are less typical, 0…1) come in
    verbose answers, of models that have them; `activation` when it was asked for as well.
    """

    probabilities: tuple[float, ...]
    calibrated: tuple[float, ...] | None = None
    typicality: float | None = None
    activation: Activation | None = None

    @property
    def best(self) -> tuple[float, ...]:
        """The probabilities to go by: the calibrated ones, if there are any."""
        return self.calibrated or self.probabilities


def parse_answer(body: bytes, classes: Sequence[str]) -> Answer:
    """One output: `{"prediction": [p0, p1, …]}`, newlines around it or not.

    The bare list that the built-in gives in real time is read as well, and so are the further
    fields of a verbose answer: `calibrated`, `classes`, `typicality`, and `map` with `map_class`
    and `map_range`. A map that cannot be read is left out: the answer is worth more than it.

    Raises
    ------
    AnswerError
        Empty, not JSON, other classes or another count of them, or numbers that are no
        probabilities.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        # ValueError: no JSON, no text, or a number of more digits than Python reads.
        raise AnswerError("the output is empty, cut off, or not one JSON value") from None
    fields: dict[str, Any] = answer if isinstance(answer, dict) else {"prediction": answer}
    if fields.get("classes") not in (None, list(classes)):
        # Said of no class by name: what stands there is not ours.
        raise AnswerError("the output is of a model with other classes, or in another order")
    calibrated = fields.get("calibrated")
    return Answer(
        _distribution(fields.get("prediction"), len(classes)),
        None if calibrated is None else _distribution(calibrated, len(classes)),
        _typicality(fields.get("typicality")),
        _activation(fields, classes),
    )


def _distribution(values: object, class_count: int) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != class_count:
        message = f"the output is no list of {class_count} probabilities"
        raise AnswerError(message)
    if not all(_is_probability(value) for value in values):
        raise AnswerError("the output holds something that is no probability")
    if abs(sum(values) - 1) > _SUM_TOLERANCE:
        raise AnswerError("the probabilities do not sum to 1")
    return tuple(min(max(float(value), 0.0), 1.0) for value in values)


def _typicality(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not _is_probability(value):
        raise AnswerError("the output's typicality is no share from 0 to 1")
    return min(max(float(value), 0.0), 1.0)


def _activation(fields: dict[str, Any], classes: Sequence[str]) -> Activation | None:
    encoded, label, span = (fields.get(name) for name in ("map", "map_class", "map_range"))
    if not isinstance(encoded, str) or len(encoded) > _MAX_MAP_BYTES or label not in classes:
        return None
    if not isinstance(span, list) or len(span) != 2 or not all(map(_is_finite, span)):
        return None
    try:
        png = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return Activation(png, str(label), float(span[0]), float(span[1]))


def _is_finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False


def _is_probability(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Not so for NaN, which compares with nothing, and for infinity.
        and -1e-6 <= value <= 1 + 1e-6
    )


def find_outputs(app: App, job: JobName | EvaluationName) -> dict[str, str]:
    """Key of the output of every slice that the job wrote one for, by slice id."""
    found = objects.keys_under(app.s3, app.settings.work_bucket, keys.job_outputs(job))
    return {keys.slice_of_output(key): key for key in found}


def read_answers(
    app: App, pool: Executor, outputs: dict[str, str], classes: Sequence[str], wanted: Iterable[str]
) -> dict[str, Answer]:
    """Answers by slice id, for every wanted slice that has a readable output.

    `outputs`: where they lie, by slice id.
    """
    there = {slice_id: outputs[slice_id] for slice_id in wanted if slice_id in outputs}
    answers = pool.map(partial(_read_answer, app, classes), there.values())
    pairs = zip(there, answers, strict=True)
    return {slice_id: answer for slice_id, answer in pairs if answer is not None}


def _read_answer(app: App, classes: Sequence[str], key: str) -> Answer | None:
    try:
        return parse_answer(objects.read(app.s3, app.settings.work_bucket, key), classes)
    except AnswerError:
        return None
