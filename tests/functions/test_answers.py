"""Outputs of a transform job: probabilities, or none at all."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import CLASSES, JOB, lines_of, source
from tomodrop import keys, objects
from tomodrop.answers import Activation, Answer, find_outputs, parse_answer, read_answers
from tomodrop.clients import App
from tomodrop.errors import AnswerError


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"prediction": [0.25, 0.75]}', [0.25, 0.75]),
        (b'{"prediction": [0.25, 0.75]}\n', [0.25, 0.75]),
        (b'\n{"prediction":[0.25,0.75]}\n\n', [0.25, 0.75]),
        (b"[0.25, 0.75]", [0.25, 0.75]),
        (b'{"prediction": [1, 0]}', [1.0, 0.0]),
        (b'{"prediction": [1.0000001, -1e-9]}', [1.0, 0.0]),
        (b'{"prediction": [0.333, 0.66], "more": 1}', [0.333, 0.66]),
        ('{"prediction": [0.25, 0.75]}'.encode("utf-16"), [0.25, 0.75]),
    ],
    ids=range(8),
)
def test_an_answer_is_read(body: bytes, answer: list[float]) -> None:
    found = parse_answer(body, CLASSES)
    assert found == Answer(tuple(answer))
    assert all(type(value) is float for value in found.probabilities)
    assert found.best == found.probabilities


def test_as_many_probabilities_as_classes() -> None:
    assert parse_answer(b"[0.1, 0.2, 0.3, 0.4]", "abcd") == Answer((0.1, 0.2, 0.3, 0.4))


VERBOSE: dict[str, Any] = {
    "prediction": [0.25, 0.75],
    "calibrated": [0.6, 0.4],
    "classes": ["non_covid", "covid"],
    "model": "tomodrop-train-20261101T030000Z",
    "typicality": 0.37,
}


def verbose(**changes: Any) -> bytes:
    """A verbose answer with fields changed, or with ... left out."""
    fields = VERBOSE | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def test_a_verbose_answer_is_read_and_its_calibrated_probabilities_go_first() -> None:
    found = parse_answer(verbose() + b"\n", CLASSES)
    assert found == Answer((0.25, 0.75), (0.6, 0.4), 0.37)
    assert found.best == (0.6, 0.4)


MAP = {"map": "cGljdHVyZQ==", "map_class": "covid", "map_range": [-1, 2.5]}


def test_the_map_of_a_verbose_answer_is_kept_as_it_came() -> None:
    found = parse_answer(verbose(**MAP), CLASSES)
    assert found.activation == Activation(b"picture", "covid", -1.0, 2.5)
    assert parse_answer(verbose(), CLASSES).activation is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"map": None},
        {"map": 7},
        {"map": "no base64!"},
        {"map": "cGljdHVyZQ"},
        {"map": "A" * 200_000},
        {"map": "\N{PILE OF POO}AA="},
        {"map_class": "other"},
        {"map_class": None},
        {"map_class": []},
        {"map_range": None},
        {"map_range": [0]},
        {"map_range": [0, 1, 2]},
        {"map_range": "01"},
        {"map_range": [0, "1"]},
        {"map_range": [False, 1]},
        {"map_range": [0, float("nan")]},
        {"map_range": [float("-inf"), 0]},
        {"map_range": [0, 10**400]},
    ],
    ids=str,
)
def test_a_map_that_cannot_be_read_costs_no_answer(wrong: dict[str, Any]) -> None:
    assert parse_answer(verbose(**(MAP | wrong)), CLASSES) == Answer((0.25, 0.75), (0.6, 0.4), 0.37)


@pytest.mark.parametrize("absent", [..., None])
def test_what_a_model_does_not_have_is_absent_from_its_verbose_answer(absent: Any) -> None:
    found = parse_answer(
        verbose(calibrated=absent, typicality=absent, classes=absent, model=absent), CLASSES
    )
    assert found == Answer((0.25, 0.75), None, None)


@pytest.mark.parametrize("typicality", [0, 1, 0.0, 1.0, -1e-9, 1 + 1e-9])
def test_a_typicality_is_a_share(typicality: float) -> None:
    found = parse_answer(verbose(typicality=typicality), CLASSES).typicality
    assert found == round(typicality)
    assert type(found) is float


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prediction": ...}, "no list of 2 probabilities"),
        ({"prediction": [0.1, 0.1]}, "sum to 1"),
        ({"calibrated": [0.9, 0.9]}, "sum to 1"),
        ({"calibrated": [1.0]}, "no list of 2 probabilities"),
        ({"calibrated": []}, "no list of 2 probabilities"),
        ({"calibrated": {"covid": 1}}, "no list of 2 probabilities"),
        ({"calibrated": [1.5, -0.5]}, "no probability"),
        ({"calibrated": 0.4}, "no list of 2 probabilities"),
        ({"typicality": 1.5}, "no share"),
        ({"typicality": -0.5}, "no share"),
        ({"typicality": float("nan")}, "no share"),
        ({"typicality": float("inf")}, "no share"),
        ({"typicality": True}, "no share"),
        ({"typicality": "0.4"}, "no share"),
        ({"typicality": [0.4]}, "no share"),
        ({"classes": ["covid", "non_covid"]}, "other classes"),
        ({"classes": ["non_covid"]}, "other classes"),
        ({"classes": "non_covid,covid"}, "other classes"),
        ({"classes": []}, "other classes"),
    ],
)
def test_a_verbose_answer_that_is_wrong_in_one_field_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(AnswerError, match=said):
        parse_answer(verbose(**changes), CLASSES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"null",
        b"0.5",
        b"{}",
        b"[]",
        b"[[0.25, 0.75]]",
        b"<html>502 Bad Gateway</html>",
        b"\xff\xfe\xfd",
        b'{"prediction": [0.25, 0.7',
        b'{"prediction": [0.25, 0.75]}{"prediction": [0.25, 0.75]}',
        b'{"prediction": [0.25, 0.75]}\n{"prediction": [0.25, 0.75]}',
        b'{"prediction": {"0": 0.25, "1": 0.75}}',
        b'{"predictions": [0.25, 0.75]}',
        b'{"prediction": "0.25,0.75"}',
        b'{"prediction": null}',
        b'{"prediction": [1.0]}',
        b'{"prediction": [0.2, 0.3, 0.5]}',
        b'{"prediction": [NaN, 1]}',
        b'{"prediction": [Infinity, 0]}',
        b'{"prediction": [-Infinity, 1]}',
        b'{"prediction": [true, false]}',
        b'{"prediction": [null, 1]}',
        b'{"prediction": ["0.25", "0.75"]}',
        b'{"prediction": [-0.25, 1.25]}',
        b'{"prediction": [0.1, 0.1]}',
        b'{"prediction": [0.9, 0.9]}',
        b'{"prediction": [1, 1' + b"0" * 400 + b"]}",
        b'{"prediction": [1, 1' + b"0" * 5000 + b"]}",
        b'{"prediction": [1e999, 0]}',
        b"[" * 100_000,
    ],
    ids=range(31),
)
def test_an_output_that_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_answer(body, CLASSES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(JSON, st.booleans())
def test_what_is_read_is_always_a_distribution(value: Any, wrapped: bool) -> None:
    body = json.dumps({"prediction": value} if wrapped else value).encode()
    try:
        answer = parse_answer(body, CLASSES).best
    except AnswerError:
        return
    assert len(answer) == 2
    assert abs(sum(answer) - 1) < 0.02
    assert all(0 <= share <= 1 for share in answer)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda row: sum(row) > 0.1))
def test_every_softmax_is_read(row: list[float]) -> None:
    shares = [share / sum(row) for share in row]
    answer = parse_answer(json.dumps({"prediction": shares}).encode(), "abcdef"[: len(row)])
    assert answer.probabilities == pytest.approx(shares)


def answers(stack: App, wanted: list[str]) -> dict[str, Answer]:
    with ThreadPoolExecutor(4) as pool:
        return read_answers(stack, pool, find_outputs(stack, JOB), CLASSES, wanted)


def put(stack: App, name: str, body: bytes) -> None:
    key = f"{keys.job_outputs(JOB)}{name}"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/jsonlines")


def test_answers_are_matched_by_slice_and_never_by_place(stack: App) -> None:
    first, second = (line.slice_id for line in lines_of(source(), 2))
    put(stack, f"{second}.png.out", b"[0.1, 0.9]")
    put(stack, f"{first}.png.out", b"[0.8, 0.2]")
    assert answers(stack, [first, second]) == {
        first: Answer((0.8, 0.2)),
        second: Answer((0.1, 0.9)),
    }


def test_what_has_no_readable_output_has_no_answer(stack: App) -> None:
    good, bad, absent = (line.slice_id for line in lines_of(source(), 3))
    put(stack, f"{good}.png.out", b"[0.8, 0.2]")
    put(stack, f"{bad}.png.out", b"[0.8")
    assert answers(stack, [good, bad, absent]) == {good: Answer((0.8, 0.2))}


def test_outputs_nobody_asked_for_are_not_read(stack: App) -> None:
    wanted, other = (line.slice_id for line in lines_of(source(), 2))
    for name in (f"{wanted}.png.out", f"{other}.png.out", "manifest.json.out", "_SUCCESS"):
        put(stack, name, b"[0.8, 0.2]")
    assert answers(stack, [wanted]) == {wanted: Answer((0.8, 0.2))}


def test_without_outputs_there_are_no_answers(stack: App) -> None:
    assert answers(stack, [line.slice_id for line in lines_of(source(), 2)]) == {}


def test_outputs_on_every_page_of_the_listing_are_found(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")
    wanted = [line.slice_id for line in lines_of(source(), 12)]
    for slice_id in wanted:
        put(stack, f"{slice_id}.png.out", b"[0.8, 0.2]")
    assert len(answers(stack, wanted)) == 12
