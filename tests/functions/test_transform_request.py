"""The transform job as it is asked for: the whole request, and SageMaker's own view of it."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

from tests.functions.builders import CHOICE, JOB, lines_of, source
from tomodrop.instances import Choice
from tomodrop.keys import JobName
from tomodrop.settings import Settings
from tomodrop.transform_jobs import transform_manifest, transform_request

MODEL_NAME = "tomodrop-train-20261101T030000Z"


def faults(operation: str, request: dict[str, Any]) -> str:
    """What botocore's own service model finds wrong with a request."""
    client = boto3.client("sagemaker", region_name="us-east-1")
    shape = client.meta.service_model.operation_model(operation).input_shape
    assert shape
    return str(ParamValidator().validate(request, shape).generate_report())


def test_the_whole_request(settings: Settings) -> None:
    assert transform_request(settings, JOB, MODEL_NAME, CHOICE) == {
        "TransformJobName": "tomodrop-20261124T153900Z-0000-1",
        "ModelName": "tomodrop-train-20261101T030000Z",
        "MaxConcurrentTransforms": 4,
        "MaxPayloadInMB": 6,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "ManifestFile",
                    "S3Uri": "s3://tomodrop-work-123456789012/batches/20261124T153900Z/jobs/"
                    "tomodrop-20261124T153900Z-0000-1/manifest.json",
                }
            },
            "ContentType": "application/x-image",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://tomodrop-work-123456789012/batches/20261124T153900Z/jobs/"
            "tomodrop-20261124T153900Z-0000-1/out",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1},
    }


def test_only_a_stack_that_asks_for_more_gets_verbose_answers(settings: Settings) -> None:
    asked = settings.model_copy(update={"answer_detail": "verbose"})
    plain, verbose = (transform_request(s, JOB, MODEL_NAME, CHOICE) for s in (settings, asked))
    assert verbose["TransformOutput"].pop("Accept") == "application/jsonlines;verbose=1"
    assert plain["TransformOutput"].pop("Accept") == "application/jsonlines"
    assert plain == verbose
    assert faults("CreateTransformJob", transform_request(asked, JOB, MODEL_NAME, CHOICE)) == ""


def test_maps_are_asked_for_when_they_are_to_be_kept(settings: Settings) -> None:
    asked = settings.model_copy(update={"answer_detail": "verbose", "keep_class_maps": True})
    request = transform_request(asked, JOB, MODEL_NAME, CHOICE)
    assert request["TransformOutput"]["Accept"] == "application/jsonlines;verbose=1;map=1"
    assert faults("CreateTransformJob", request) == ""


@pytest.mark.parametrize("job", [JOB, JobName("a" * 20, JOB.batch, "12345", 10)], ids=str)
def test_sagemaker_s_model_accepts_it(settings: Settings, job: JobName) -> None:
    request = transform_request(settings, job, MODEL_NAME, CHOICE)
    assert faults("CreateTransformJob", request) == ""
    assert len(request["TransformJobName"]) <= 63


def test_it_runs_where_it_was_chosen_to(settings: Settings) -> None:
    choice = Choice("ml.c5.xlarge", 3, minutes=None, usd=None)
    request = transform_request(settings, JOB, MODEL_NAME, choice)
    assert request["TransformResources"] == {"InstanceType": "ml.c5.xlarge", "InstanceCount": 3}
    assert faults("CreateTransformJob", request) == ""


@pytest.mark.parametrize("most", [1, 16])
def test_concurrency_and_payload_stay_within_100_mb(settings: Settings, most: int) -> None:
    changed = settings.model_copy(update={"max_concurrent_transforms": most})
    request = transform_request(changed, JOB, MODEL_NAME, CHOICE)
    assert request["MaxConcurrentTransforms"] * request["MaxPayloadInMB"] <= 100


def test_sagemaker_s_model_would_refuse_another_shape(settings: Settings) -> None:
    request = transform_request(settings, JOB, MODEL_NAME, CHOICE)
    del request["TransformInput"]
    assert "Missing required parameter" in faults("CreateTransformJob", request)
    with pytest.raises(ParamValidationError):
        boto3.client("sagemaker", region_name="us-east-1").create_transform_job(**request)


def test_the_manifest_is_one_prefix_and_then_the_slices() -> None:
    names = [line.slice_id for line in lines_of(source(), 2)]
    body = transform_manifest("work", "batches/20261124T153900Z/slices/", names)
    assert json.loads(body) == [
        {"prefix": "s3://work/batches/20261124T153900Z/slices/"},
        f"{names[0]}.png",
        f"{names[1]}.png",
    ]
