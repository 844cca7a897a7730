"""What a transform job answered: outputs matched to slices by id, never by position."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tomodrop import keys, objects
from tomodrop.clients import THREADS, App
from tomodrop.errors import AnswerError
from tomodrop.keys import JobName

# A softmax of 32-bit floats sums to 1 within this much.
_SUM_TOLERANCE = 1e-2


def parse_answer(body: bytes, class_count: int) -> list[float]:
    """Class probabilities in one output: `{"prediction": [p0, p1, …]}`, newlines around it or not.

    The bare list that the built-in gives in real time is read as well.

    Raises
    ------
    AnswerError
        Empty, not JSON, another class count, or numbers that are no probabilities.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        # ValueError: no JSON, no text, or a number of more digits than Python reads.
        raise AnswerError("the output is empty, cut off, or not one JSON value") from None
    values = answer.get("prediction") if isinstance(answer, dict) else answer
    if not isinstance(values, list) or len(values) != class_count:
        message = f"the output is no list of {class_count} probabilities"
        raise AnswerError(message)
    if not all(_is_probability(value) for value in values):
        raise AnswerError("the output holds something that is no probability")
    if abs(sum(values) - 1) > _SUM_TOLERANCE:
        raise AnswerError("the probabilities do not sum to 1")
    return [min(max(float(value), 0.0), 1.0) for value in values]


def _is_probability(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        # Not so for NaN, which compares with nothing, and for infinity.
        and -1e-6 <= value <= 1 + 1e-6
    )


def read_answers(
    app: App, job: JobName, class_count: int, wanted: Iterable[str]
) -> dict[str, list[float]]:
    """Probabilities by slice id, for every wanted slice that has a readable output."""
    work = app.settings.work_bucket
    asked = set(wanted)
    found = {
        keys.slice_of_output(key): key
        for key in objects.keys_under(app.s3, work, keys.job_outputs(job))
        if keys.slice_of_output(key) in asked
    }
    read = partial(_read_answer, app, class_count)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = dict(zip(found, pool.map(read, found.values()), strict=True))
    return {slice_id: answer for slice_id, answer in answers.items() if answer is not None}


def _read_answer(app: App, class_count: int, key: str) -> list[float] | None:
    try:
        return parse_answer(objects.read(app.s3, app.settings.work_bucket, key), class_count)
    except AnswerError:
        return None
