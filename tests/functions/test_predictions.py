"""The JSON that users get, held against its published schema."""

import json
import subprocess
import sys
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import (
    CLASSES,
    JOB,
    REPOSITORY,
    lines_of,
    prediction_of,
    rejection_of,
    source,
)
from tomodrop.answers import Answer
from tomodrop.imaging.version import NORMALISER
from tomodrop.predictions import Result, Rules, predicted, schema
from tomodrop.references import BatchReference, ModelReference

PUBLISHED = REPOSITORY / "docs" / "prediction.schema.json"
VALIDATOR = jsonschema_rs.validator_for(json.loads(PUBLISHED.read_text()), validate_formats=True)
BATCH = BatchReference(id=JOB.batch, job=str(JOB))
REFERENCE = ModelReference(name="m", training_job="t", normaliser="1", metrics={})


def document(result: Result) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(result.to_json())
    return shown


def test_the_published_schema_is_the_program_s_own() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tomodrop.predictions"],
        cwd=REPOSITORY / "functions",
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert PUBLISHED.read_text() == printed
    assert json.loads(printed) == schema()


def test_the_schema_is_a_schema() -> None:
    assert jsonschema_rs.meta.is_valid(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "result",
    [
        prediction_of(source()),
        prediction_of(source(), slices=3),
        prediction_of(source(key="incoming/肺 +%.png", version_id="", sequencer="")),
        rejection_of(source()),
        rejection_of(source(sequencer="", last_modified="")),
    ],
    ids=["prediction", "volume", "unversioned", "rejection", "swept"],
)
def test_every_result_is_valid(result: Result) -> None:
    VALIDATOR.validate(document(result))


def test_a_prediction_says_everything() -> None:
    shown = document(prediction_of(source(), covid=0.75))
    created_at = shown.pop("created_at")
    assert created_at.endswith("Z")
    assert shown == {
        "schema_version": "1.0",
        "status": "predicted",
        "source": {
            "bucket": "tomodrop-uploads-123456789012",
            "key": "incoming/a.png",
            "version_id": "v1",
            "etag": "etag-v1",
            "sequencer": "0060",
            "size_bytes": 7,
            "sha256": "ab" * 32,
        },
        "prediction": {
            "label": "covid",
            "index": 1,
            "probability": 0.75,
            "probabilities": {"non_covid": 0.25, "covid": 0.75},
        },
        "model": {
            "name": "tomodrop-train-20261101T030000Z",
            "training_job": "tomodrop-train-20261101T030000Z",
            "normaliser": NORMALISER,
            "metrics": {"validation:accuracy": 0.9},
        },
        "processing": {"format": "PNG", "image_shape": [3, 64, 64]},
        "batch": {"id": "20261124T153900Z", "job": "tomodrop-20261124T153900Z-0000-1"},
        "warnings": [],
        "notice": "Research use only. Not a medical device: do not use for diagnosis or treatment "
        "decisions.",
    }


def test_a_rejection_says_why_and_what_to_do() -> None:
    shown = document(rejection_of(source(sequencer="", version_id="")))
    assert shown["rejection"] == {
        "code": "damaged_image",
        "message": "It is damaged.",
        "remedy": "Send it again.",
    }
    assert (shown["source"]["sequencer"], shown["source"]["version_id"]) == (None, None)
    assert {"prediction", "model", "slices", "batch", "processing"}.isdisjoint(shown)


def test_a_volume_has_the_mean_of_its_slices_and_each_of_them() -> None:
    lines = [
        line.model_copy(update={"position_mm": position, "warnings": ("Lossy.", f"{position}")})
        for line, position in zip(lines_of(source(), 3), (None, 2.5, 5.0), strict=True)
    ]
    rows = [Answer((0.9, 0.1)), Answer((0.2, 0.8)), Answer((0.1, 0.9))]
    result = predicted(lines, rows, list(CLASSES), REFERENCE, BATCH)
    shown = document(result)
    VALIDATOR.validate(shown)
    assert shown["prediction"]["label"] == "covid"
    assert shown["prediction"]["probability"] == pytest.approx(0.6)
    assert shown["slices"] == [
        {
            "index": index,
            "position_mm": position,
            "has_lung": True,
            "probabilities": dict(zip(CLASSES, row.best, strict=True)),
        }
        for index, (position, row) in enumerate(zip((None, 2.5, 5.0), rows, strict=True))
    ]
    assert shown["warnings"] == ["Lossy.", "None", "2.5", "5.0"]


def test_a_volume_is_read_by_its_top_slices_with_lung() -> None:
    lines = [
        line.model_copy(update={"has_lung": line.index != 3, "index": line.index + 10})
        for line in lines_of(source(), 5)
    ]
    shares = (0.1, 0.8, 0.4, 1.0, 0.9)
    rows = [Answer((1 - share, share)) for share in shares]
    shown = document(predicted(lines, rows, list(CLASSES), REFERENCE, BATCH, Rules(top_share=0.5)))
    VALIDATOR.validate(shown)
    assert shown["prediction"]["probability"] == pytest.approx(0.85)
    assert shown["volume"] == {
        "rule": "mean over the share of slices with lung that are least like the first class",
        "top_share": 0.5,
        "slices_used": [11, 14],
        "slices_without_lung": [13],
    }
    assert [one["has_lung"] for one in shown["slices"]] == [True, True, True, False, True]
    assert shown["warnings"] == ["1 of 5 slices show no lung and do not count."]


def test_if_no_slice_shows_lung_all_count_and_it_is_said() -> None:
    lines = [line.model_copy(update={"has_lung": False}) for line in lines_of(source(), 2)]
    rows = [Answer((0.9, 0.1)), Answer((0.7, 0.3))]
    shown = document(predicted(lines, rows, list(CLASSES), REFERENCE, BATCH))
    assert shown["prediction"]["probability"] == pytest.approx(0.8)
    assert shown["volume"]["slices_used"] == [0, 1]
    assert shown["warnings"] == ["No slice was found to show lung, so all of them count."]


def test_a_picture_of_its_own_counts_whatever_it_shows() -> None:
    (line,) = lines_of(source())
    alone = line.model_copy(update={"has_lung": False})
    shown = document(predicted([alone], [Answer((0.2, 0.8))], list(CLASSES), REFERENCE, BATCH))
    assert shown["warnings"] == []
    assert {"slices", "volume"}.isdisjoint(shown)


def test_one_slice_is_no_volume() -> None:
    assert "slices" not in document(prediction_of(source()))


def test_of_equal_probabilities_the_first_class_is_named() -> None:
    shown = document(prediction_of(source(), covid=0.5))
    assert (shown["prediction"]["label"], shown["prediction"]["index"]) == ("non_covid", 0)


def test_what_is_unknown_inside_is_null_and_not_left_out() -> None:
    (line,) = lines_of(source())
    line = line.model_copy(update={"processing": {"format": "PNG", "rescale": None}})
    result = predicted([line], [Answer((0.5, 0.5))], list(CLASSES), REFERENCE, BATCH)
    assert document(result)["processing"] == {"format": "PNG", "rescale": None}


def test_text_is_utf_8_and_readable() -> None:
    body = prediction_of(source(key="incoming/肺.png")).to_json()
    assert "incoming/肺.png".encode() in body
    assert body.endswith(b"}\n")


def test_answers_and_slices_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        predicted(lines_of(source(), 2), [Answer((0.5, 0.5))], list(CLASSES), REFERENCE, BATCH)
    with pytest.raises(ValueError, match="zip"):
        predicted(lines_of(source()), [Answer((1.0,))], list(CLASSES), REFERENCE, BATCH)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_however_many_slices_the_mean_is_valid(covid: list[float]) -> None:
    rows = [Answer((1 - share, share), typicality=share) for share in covid]
    result = predicted(lines_of(source(), len(rows)), rows, list(CLASSES), REFERENCE, BATCH)
    VALIDATOR.validate(document(result))


GOOD = document(prediction_of(source()))
REJECTED = document(rejection_of(source()))
INVALID: dict[str, dict[str, Any]] = {
    "no status": {k: v for k, v in GOOD.items() if k != "status"},
    "no notice": {k: v for k, v in GOOD.items() if k != "notice"},
    "no warnings": {k: v for k, v in GOOD.items() if k != "warnings"},
    "no version": {k: v for k, v in GOOD.items() if k != "schema_version"},
    "no source": {k: v for k, v in GOOD.items() if k != "source"},
    "another version": GOOD | {"schema_version": "2.0"},
    "another status": GOOD | {"status": "unknown"},
    "a field more": GOOD | {"patient": "SECRET"},
    "no prediction": {k: v for k, v in GOOD.items() if k != "prediction"},
    "prediction and rejection": GOOD | {"rejection": REJECTED["rejection"]},
    "status rejected, prediction": GOOD | {"status": "rejected"},
    "status predicted, rejection": REJECTED | {"status": "predicted"},
    "rejection and prediction": REJECTED | {"prediction": GOOD["prediction"]},
    "prediction is null": GOOD | {"prediction": None},
    "rejection without a remedy": REJECTED | {"rejection": {"code": "c", "message": "m"}},
    "probability above 1": GOOD | {"prediction": GOOD["prediction"] | {"probability": 1.5}},
    "typicality above 1": GOOD | {"prediction": GOOD["prediction"] | {"typicality": 1.5}},
    "expected is null": GOOD | {"batch": GOOD["batch"] | {"expected": None}},
    "expected lacks its type": GOOD | {"batch": GOOD["batch"] | {"expected": {"minutes": 5}}},
    "typicality is null": GOOD | {"prediction": GOOD["prediction"] | {"typicality": None}},
    "negative index": GOOD | {"prediction": GOOD["prediction"] | {"index": -1}},
    "no time": GOOD | {"created_at": "yesterday"},
    "source without a key": GOOD | {"source": {"bucket": "b"}},
    "slice without its position": GOOD | {"slices": [{"index": 0, "probabilities": {}}]},
}


@pytest.mark.parametrize("wrong", INVALID.values(), ids=INVALID)
def test_what_is_no_result_is_not_valid(wrong: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(wrong)
