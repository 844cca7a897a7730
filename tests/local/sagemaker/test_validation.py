"""A request is judged by SageMaker's own service model, and the answer is worded as its own."""

from collections.abc import Callable
from typing import Any

import pytest

from local.sagemaker.errors import ValidationError
from local.sagemaker.validation import validate, without_nulls
from tests.local.sagemaker.support import Bucket, training_request, transform_request

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def transform(bucket: Bucket) -> dict[str, Any]:
    return transform_request(bucket)


@pytest.fixture
def training(bucket: Bucket) -> dict[str, Any]:
    return training_request(bucket)


def test_whole_requests_pass(transform: dict[str, Any], training: dict[str, Any]) -> None:
    validate("CreateTransformJob", transform)
    validate("CreateTrainingJob", training)
    validate("ListTrainingJobs", {"CreationTimeAfter": 1767225600.5, "MaxResults": 100})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.update(TransformJobName="no_underscores"),
            (
                "1 validation error detected: Value 'no_underscores' at 'transformJobName' failed "
                "to satisfy constraint: Member must satisfy regular expression pattern: "
                "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
            ),
        ),
        (lambda r: r.update(TransformJobName="ends-"), "Value 'ends-' at"),
        (lambda r: r.update(TransformJobName="a\n"), "regular expression pattern"),
        (
            lambda r: r.update(TransformJobName="x" * 64),
            "Member must have length less than or equal to 63",
        ),
        (
            lambda r: r.update(TransformJobName=""),
            "Member must have length greater than or equal to 1",
        ),
        (
            lambda r: r.pop("ModelName"),
            "Value null at 'modelName' failed to satisfy constraint: Member must not be null",
        ),
        (
            lambda r: r["TransformInput"]["DataSource"]["S3DataSource"].pop("S3Uri"),
            "Value null at 'transformInput.dataSource.s3DataSource.s3Uri'",
        ),
        (
            lambda r: r.update(BatchStrategy="Single"),
            (
                "Value 'Single' at 'batchStrategy' failed to satisfy constraint: Member must "
                "satisfy enum value set: [MultiRecord, SingleRecord]"
            ),
        ),
        (
            lambda r: r["TransformResources"].update(InstanceCount=0),
            "Member must have value greater than or equal to 1",
        ),
        (
            lambda r: r.update(ModelClientConfig={"InvocationsMaxRetries": 4}),
            "Member must have value less than or equal to 3",
        ),
        (
            lambda r: r.update(Environment={str(n): "" for n in range(17)}),
            "Member must have length less than or equal to 16",
        ),
        (
            lambda r: r.update(Environment={"not-a-name": "x"}),
            (
                "at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: "
                "[Member must have length less than or equal to 1024"
            ),
        ),
        (
            lambda r: r.update(Tags=[{"Key": "ok", "Value": "v"}, {"Key": "", "Value": "v"}]),
            "Value '' at 'tags.2.member.key'",
        ),
        (lambda r: r.update(Tags=[{"Key": "k", "Value": "<"}]), r"pattern: ([\p{L}\p{Z}"),
        (lambda r: r.update(MaxPayloadInMB="6"), "Invalid type for parameter MaxPayloadInMB"),
        (lambda r: r.update(Typo=1), 'Unknown parameter in input: "Typo"'),
        (lambda r: r.update(TransformInput=[]), "Invalid type for parameter TransformInput"),
        (
            lambda r: (r.pop("ModelName"), r.update(BatchStrategy="x")),
            "2 validation errors detected: Value null at 'modelName'",
        ),
    ],
)
def test_broken_constraints_are_refused(
    transform: dict[str, Any], change: Change, message: str
) -> None:
    change(transform)

    with pytest.raises(ValidationError) as refusal:
        validate("CreateTransformJob", transform)

    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.update(HyperParameters={"k": "v" * 2501}),
            "Map value must satisfy constraint: [Member must have length less than or equal to 2",
        ),
        (
            lambda r: r.update(HyperParameters={str(n): "" for n in range(101)}),
            "Member must have length less than or equal to 100",
        ),
        (lambda r: r.update(RoleArn="role"), "at 'roleArn'"),
        (
            lambda r: r["ResourceConfig"].update(InstanceType="ml.huge"),
            "Value 'ml.huge' at 'resourceConfig.instanceType'",
        ),
        (lambda r: r.update(HyperParameters={"epochs": 5}), "Invalid type for parameter HyperP"),
    ],
)
def test_broken_training_constraints_are_refused(
    training: dict[str, Any], change: Change, message: str
) -> None:
    change(training)

    with pytest.raises(ValidationError) as refusal:
        validate("CreateTrainingJob", training)

    assert message in str(refusal.value)


def test_a_value_of_any_length_is_shown_in_part(transform: dict[str, Any]) -> None:
    transform["TransformJobName"] = "x" * 100_000

    with pytest.raises(ValidationError) as refusal:
        validate("CreateTransformJob", transform)

    assert len(str(refusal.value)) < 1000


def test_null_is_the_same_as_absent() -> None:
    given = {"a": None, "b": {"c": None, "d": [{"e": None, "f": 1}]}}

    assert without_nulls(given) == {"b": {"d": [{"f": 1}]}}
