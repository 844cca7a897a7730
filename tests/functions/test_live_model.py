"""The live model: one record in a parameter, and a copy beside each training."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functions.builders import ENVIRONMENT, MODEL
from tests.functions.interference import refusing
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.errors import SettingsError
from tomodrop.live_model import (
    LiveModel,
    model_record_key,
    read_live_model,
    read_model_record,
    write_live_model,
)

RECORD: dict[str, Any] = json.loads(MODEL.model_dump_json())


def put(stack: App, value: str) -> None:
    name = ENVIRONMENT["LIVE_MODEL_PARAMETER"]
    stack.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def test_before_the_first_promotion_there_is_none(stack: App) -> None:
    assert read_live_model(stack) is None


def test_what_is_written_is_read(stack: App) -> None:
    write_live_model(stack, MODEL)
    assert read_live_model(stack) == MODEL
    assert read_model_record(stack, MODEL.model_name) == MODEL


def test_earlier_models_stay_known(stack: App) -> None:
    write_live_model(stack, MODEL)
    newer = MODEL.model_copy(update={"model_name": "n", "training_job": "n"})
    write_live_model(stack, newer)
    assert read_live_model(stack) == newer
    assert read_model_record(stack, MODEL.model_name) == MODEL


def test_the_record_beside_the_training_is_a_way_back(stack: App) -> None:
    write_live_model(stack, MODEL)
    write_live_model(stack, MODEL.model_copy(update={"model_name": "n", "training_job": "n"}))
    key = model_record_key(MODEL.training_job)
    assert key == f"training/{MODEL.training_job}/model.json"
    put(stack, objects.read(stack.s3, stack.settings.work_bucket, key).decode())
    assert read_live_model(stack) == MODEL


def test_the_record_fits_into_a_standard_parameter(stack: App) -> None:
    """4 KB of text is what a standard parameter holds (SSM API, PutParameter)."""
    large = LiveModel(
        **MODEL.model_dump()
        | {
            "classes": tuple(f"class-{number:02d}-with-a-long-name" for number in range(60)),
            "metrics": {f"validation:metric-{number}": 0.123456 for number in range(20)},
            "fingerprint": "f" * 64,
        }
    )
    assert len(large.model_dump_json()) < 4096
    write_live_model(stack, large)
    assert read_live_model(stack) == large


@pytest.mark.parametrize(
    "value",
    [
        "None",
        "tomodrop-train-20261101T030000Z",
        "{}",
        "[]",
        json.dumps(RECORD)[:-1],
        json.dumps(RECORD | {"trained_at": "yesterday"}),
        json.dumps(RECORD | {"image_shape": [3, 224]}),
        json.dumps({name: value for name, value in RECORD.items() if name != "classes"}),
    ],
    ids=["None", "a name", "empty", "list", "cut off", "no time", "shape", "no classes"],
)
def test_anything_else_in_the_parameter_is_refused_with_the_way_out(stack: App, value: str) -> None:
    put(stack, value)
    with pytest.raises(
        SettingsError, match=r"set it to 'none', or call promote with .*rollback_to"
    ) as refused:
        read_live_model(stack)
    assert ENVIRONMENT["LIVE_MODEL_PARAMETER"] in str(refused.value)


def test_an_unknown_model_is_an_error(stack: App) -> None:
    with pytest.raises(ClientError, match="NoSuchKey"):
        read_model_record(stack, "tomodrop-train-unknown")


def test_a_model_whose_record_cannot_be_kept_does_not_go_live(stack: App) -> None:
    with (
        refusing(stack.s3, "PutObject", "AccessDenied", status=403),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        write_live_model(stack, MODEL)
    assert read_live_model(stack) is None
