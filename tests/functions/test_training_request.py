"""The training job as it is asked for: the whole request, and SageMaker's own view of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.functions.builders import ENVIRONMENT
from tests.functions.test_transform_request import faults
from tomodrop.imaging.version import NORMALISER
from tomodrop.settings import Settings
from tomodrop.training_jobs import (
    hyperparameters,
    training_fingerprint,
    training_job_name,
    training_request,
)

JOB = "tomodrop-train-20261122T030000Z"
FOLDER = f"s3://tomodrop-work-123456789012/training/{JOB}"
OUR_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tomodrop:1"
WHOLE: dict[str, Any] = {
    "TrainingJobName": JOB,
    "AlgorithmSpecification": {
        "TrainingImage": "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1",
        "TrainingInputMode": "Pipe",
    },
    "RoleArn": "arn:aws:iam::123456789012:role/tomodrop-sagemaker",
    "HyperParameters": {
        "num_layers": "152",
        "epochs": "50",
        "lr_scheduler_step": "10,20",
        "image_shape": "3,64,64",
        "num_classes": "2",
        "num_training_samples": "1984",
    },
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "AugmentedManifestFile",
                    "S3Uri": f"{FOLDER}/train.manifest",
                    "S3DataDistributionType": "FullyReplicated",
                    "AttributeNames": ["source-ref", "class"],
                }
            },
            "ContentType": "application/x-recordio",
            "CompressionType": "None",
            "RecordWrapperType": "RecordIO",
            "InputMode": "Pipe",
            "ShuffleConfig": {"Seed": 903224580},
        },
        {
            "ChannelName": "validation",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "AugmentedManifestFile",
                    "S3Uri": f"{FOLDER}/validation.manifest",
                    "S3DataDistributionType": "FullyReplicated",
                    "AttributeNames": ["source-ref", "class"],
                }
            },
            "ContentType": "application/x-recordio",
            "CompressionType": "None",
            "RecordWrapperType": "RecordIO",
            "InputMode": "Pipe",
        },
    ],
    "OutputDataConfig": {
        "S3OutputPath": "s3://tomodrop-work-123456789012/training",
        "CompressionType": "GZIP",
    },
    "ResourceConfig": {
        "InstanceType": "ml.g4dn.xlarge",
        "InstanceCount": 1,
        "VolumeSizeInGB": 50,
    },
    "EnableNetworkIsolation": True,
    "EnableInterContainerTrafficEncryption": False,
    "StoppingCondition": {"MaxRuntimeInSeconds": 86_400},
    "Environment": {
        "TOMODROP_CLASSES": '["non_covid", "covid"]',
        "TOMODROP_NORMALISER": NORMALISER,
        "TOMODROP_DATA_DIGEST": "d" * 64,
    },
}


def changed(**values: str) -> Settings:
    return Settings.from_environment(ENVIRONMENT | values)


def request_of(settings: Settings) -> dict[str, Any]:
    return training_request(settings, JOB, 1984, "d" * 64)


def test_the_whole_request(settings: Settings) -> None:
    assert request_of(settings) == WHOLE
    assert faults("CreateTrainingJob", request_of(settings)) == ""


def test_an_image_of_one_s_own_is_told_the_groups_and_which_lines_are_metrics() -> None:
    request = request_of(changed(ALGORITHM_IMAGE=OUR_IMAGE))
    for channel in request["InputDataConfig"]:
        source = channel["DataSource"]["S3DataSource"]
        assert source.pop("AttributeNames") == ["source-ref", "class", "group"]
        source["AttributeNames"] = ["source-ref", "class"]
    assert request == WHOLE | {
        "HyperParameters": WHOLE["HyperParameters"] | {"group_records": "1"},
        "AlgorithmSpecification": {
            "TrainingImage": OUR_IMAGE,
            "TrainingInputMode": "Pipe",
            "MetricDefinitions": [
                {"Name": "train:accuracy", "Regex": "Train-accuracy=([0-9.]+)"},
                {"Name": "validation:accuracy", "Regex": "Validation-accuracy=([0-9.]+)"},
            ],
        },
    }
    assert faults("CreateTrainingJob", request) == ""


def test_a_model_to_start_from_is_one_more_channel() -> None:
    request = request_of(changed(STARTING_MODEL_KEY="training/weights/model.tar.gz"))
    started = {
        "ChannelName": "model",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": "s3://tomodrop-work-123456789012/training/weights/model.tar.gz",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "ContentType": "application/x-sagemaker-model",
        "CompressionType": "None",
        "RecordWrapperType": "None",
        "InputMode": "File",
    }
    assert request == WHOLE | {"InputDataConfig": [*WHOLE["InputDataConfig"], started]}
    assert faults("CreateTrainingJob", request) == ""


def test_the_built_in_is_sent_nothing_that_it_refuses() -> None:
    request = request_of(changed(METRIC_DEFINITIONS="a=b(c)"))
    assert request == WHOLE


def test_spot_capacity_is_waited_for_and_survived() -> None:
    request = request_of(changed(USE_SPOT="true", TRAINING_MAX_HOURS="2.5"))
    assert request == WHOLE | {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 9000, "MaxWaitTimeInSeconds": 18_000},
        "CheckpointConfig": {
            "S3Uri": f"{FOLDER}/checkpoints",
            "LocalPath": "/opt/ml/checkpoints",
        },
    }
    assert faults("CreateTrainingJob", request) == ""


def test_everything_that_is_set_goes_into_the_request() -> None:
    request = request_of(
        changed(
            CLASS_NAMES="a,b,c",
            IMAGE_SHAPE="3,224,200",
            TRAINING_INSTANCE_TYPE="ml.p3.2xlarge",
            TRAINING_INSTANCE_COUNT="2",
            TRAINING_VOLUME_GB="9",
            HYPERPARAMETERS="epochs=3",
            EXTRA_HYPERPARAMETERS="trainable_stages=1,augmentation=ct",
        )
    )
    assert request["HyperParameters"] == {
        "epochs": "3",
        "trainable_stages": "1",
        "augmentation": "ct",
        "image_shape": "3,224,200",
        "num_classes": "3",
        "num_training_samples": "1984",
    }
    assert request["ResourceConfig"] == {
        "InstanceType": "ml.p3.2xlarge",
        "InstanceCount": 2,
        "VolumeSizeInGB": 9,
    }
    assert json.loads(request["Environment"]["TOMODROP_CLASSES"]) == ["a", "b", "c"]


def test_extra_hyperparameters_come_after_the_others_and_never_lie_about_the_data() -> None:
    settings = changed(
        HYPERPARAMETERS="optimizer=sgd,epochs=1",
        EXTRA_HYPERPARAMETERS="optimizer=adamw,num_classes=7,num_training_samples=1,image_shape=x",
    )
    assert hyperparameters(settings, 12) == {
        "optimizer": "adamw",
        "epochs": "1",
        "image_shape": "3,64,64",
        "num_classes": "2",
        "num_training_samples": "12",
    }


def test_groups_are_said_to_be_sent_whenever_they_are() -> None:
    settings = changed(ALGORITHM_IMAGE=OUR_IMAGE, EXTRA_HYPERPARAMETERS="group_records=0")
    assert hyperparameters(settings, 12)["group_records"] == "1"


def test_a_job_is_named_after_the_schedule_s_time() -> None:
    time = datetime(2026, 11, 22, 3, tzinfo=UTC)
    assert training_job_name("tomodrop", time) == JOB
    assert training_job_name("tomodrop", time + timedelta(seconds=1)) != JOB
    assert len(training_job_name("a" * 20, time)) <= 63


def test_another_job_is_shuffled_in_another_order(settings: Settings) -> None:
    other = training_request(settings, f"{JOB[:-1]}1Z", 1984, "d" * 64)
    seeds = {
        request["InputDataConfig"][0]["ShuffleConfig"]["Seed"]
        for request in (request_of(settings), other)
    }
    assert len(seeds) == 2


def fingerprint(settings: Settings, digest: str = "d", samples: int = 10) -> str:
    return training_fingerprint(settings, digest, samples)


def test_the_same_data_and_recipe_have_the_same_fingerprint(settings: Settings) -> None:
    assert fingerprint(settings) == fingerprint(changed(INTAKE_QUEUE_URL="https://elsewhere"))
    # Where it runs and how it is judged is no part of the recipe.
    assert fingerprint(settings) == fingerprint(
        changed(TRAINING_INSTANCE_TYPE="ml.p3.2xlarge", MINIMUM_VALIDATION_ACCURACY="0.5")
    )


@pytest.mark.parametrize(
    "values",
    [
        {"HYPERPARAMETERS": "epochs=51"},
        {"EXTRA_HYPERPARAMETERS": "a=1"},
        {"ALGORITHM_IMAGE": OUR_IMAGE},
        {"CLASS_NAMES": "covid,non_covid"},
        {"IMAGE_SHAPE": "3,65,64"},
        {"STARTING_MODEL_KEY": "training/weights/model.tar.gz"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_another_recipe_has_another_fingerprint(settings: Settings, values: dict[str, str]) -> None:
    assert fingerprint(changed(**values)) != fingerprint(settings)


def test_other_data_have_another_fingerprint(settings: Settings) -> None:
    same, digest, samples = (fingerprint(settings, *of) for of in (("d",), ("e",), ("d", 9)))
    assert len({same, digest, samples}) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("HyperParameters", "epochs"), 50),
        (("RoleArn",), "no"),
        (("StoppingCondition", "MaxRuntimeInSeconds"), 0),
        (("ResourceConfig", "InstanceCount"), "one"),
    ],
    ids=str,
)
def test_sagemaker_s_model_would_refuse_other_values(
    settings: Settings, path: tuple[str, ...], value: object
) -> None:
    request = request_of(settings)
    inner = request
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert path[-1] in faults("CreateTrainingJob", request)
