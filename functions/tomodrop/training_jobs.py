"""The training job as a value: what is asked of SageMaker's built-in image classification.

Ours in `training/` takes the same request, and is sent more: each slice's group, and which lines of
its log are metrics. What else only ours knows goes into `Environment`, which the built-in ignores,
and into ExtraHyperparameters, which are empty unless a user sets them.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tomodrop import keys
from tomodrop.imaging.version import NORMALISER
from tomodrop.manifests import GROUP
from tomodrop.protection import network, output_key, volume_key
from tomodrop.settings import Settings

if TYPE_CHECKING:
    from tomodrop.clients import App

BUILT_IN_REPOSITORY = "/image-classification:"
# The image first, the label second: the order is part of the contract.
_ATTRIBUTES = ["source-ref", "class"]
_SECONDS_PER_HOUR = 3600


def training_job_name(prefix: str, scheduled: datetime) -> str:
    """Deterministic in the schedule's time, so that a repeated event makes no second job."""
    return f"{_prefix(prefix)}{scheduled:%Y%m%dT%H%M%SZ}"


def training_jobs_of(app: "App", **query: Any) -> Iterator[dict[str, Any]]:
    """Summaries of this stack's training jobs; `query` as for ListTrainingJobs.

    SageMaker filters by what a name contains, and the prefix of another stack may end in ours.
    """
    prefix = _prefix(app.settings.job_name_prefix)
    pages = app.sagemaker.get_paginator("list_training_jobs").paginate(
        **{"NameContains": prefix} | query
    )
    for page in pages:
        for summary in page["TrainingJobSummaries"]:
            if summary["TrainingJobName"].startswith(prefix):
                yield dict(summary)


def _prefix(job_name_prefix: str) -> str:
    return f"{job_name_prefix}-train-"


def uses_built_in(settings: Settings) -> bool:
    """Whether SageMaker's own algorithm trains, which refuses whatever is not its own."""
    return BUILT_IN_REPOSITORY in settings.algorithm_image


def hyperparameters(settings: Settings, training_samples: int) -> dict[str, str]:
    """All as text, as SageMaker wants them."""
    groups = {} if uses_built_in(settings) else {"group_records": "1"}
    return {
        **dict(settings.hyperparameters),
        **dict(settings.extra_hyperparameters),
        "image_shape": ",".join(map(str, settings.image_shape)),
        "num_classes": str(len(settings.class_names)),
        "num_training_samples": str(training_samples),
        **groups,
    }


def training_fingerprint(settings: Settings, data_digest: str, training_samples: int) -> str:
    """The same data, recipe, algorithm and pixels give the same fingerprint."""
    recipe = {
        "data": data_digest,
        "hyperparameters": hyperparameters(settings, training_samples),
        "image": settings.algorithm_image,
        "start": settings.starting_model_key,
        "classes": settings.class_names,
        "normaliser": NORMALISER,
        "lung_window_hu": settings.lung_window_hu,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def training_request(
    settings: Settings, job: str, training_samples: int, data_digest: str
) -> dict[str, Any]:
    """The CreateTrainingJob request: Pipe mode, augmented manifests, RecordIO-wrapped."""
    folder = f"s3://{settings.work_bucket}/{keys.TRAINING}"
    request: dict[str, Any] = {
        "TrainingJobName": job,
        "AlgorithmSpecification": {
            "TrainingImage": settings.algorithm_image,
            "TrainingInputMode": "Pipe",
        },
        "RoleArn": settings.sagemaker_role_arn,
        "HyperParameters": hyperparameters(settings, training_samples),
        "InputDataConfig": _channels(settings, f"{folder}{job}", zlib.crc32(job.encode())),
        # The default, said: incremental training and batch transform need a tar.gz.
        "OutputDataConfig": {
            "S3OutputPath": folder.rstrip("/"),
            "CompressionType": "GZIP",
            **output_key(settings),
        },
        "ResourceConfig": {
            "InstanceType": settings.training_instance_type,
            "InstanceCount": settings.training_instance_count,
            "VolumeSizeInGB": settings.training_volume_gb,
            **volume_key(settings, settings.training_instance_type),
        },
        # The container reaches no network: SageMaker brings the images in and takes the model out.
        "EnableNetworkIsolation": True,
        # Gradients tell of images. A single instance sends none.
        "EnableInterContainerTrafficEncryption": settings.training_instance_count > 1,
        **network(settings),
        "StoppingCondition": {
            "MaxRuntimeInSeconds": round(settings.training_max_hours * _SECONDS_PER_HOUR)
        },
        "Environment": {
            "TOMODROP_CLASSES": json.dumps(settings.class_names),
            "TOMODROP_NORMALISER": NORMALISER,
            "TOMODROP_DATA_DIGEST": data_digest,
        },
    }
    if not uses_built_in(settings):
        request["AlgorithmSpecification"]["MetricDefinitions"] = [
            {"Name": name, "Regex": regex} for name, regex in settings.metric_definitions
        ]
    return request | (_spot(settings, f"{folder}{job}/checkpoints") if settings.use_spot else {})


def _channels(settings: Settings, folder: str, shuffle_seed: int) -> list[dict[str, Any]]:
    attributes = _ATTRIBUTES if uses_built_in(settings) else [*_ATTRIBUTES, GROUP]
    return [
        {
            **_channel("train", f"{folder}/train.manifest", attributes),
            "ShuffleConfig": {"Seed": shuffle_seed},
        },
        _channel("validation", f"{folder}/validation.manifest", attributes),
        *_starting_model(settings),
    ]


def _channel(name: str, manifest: str, attributes: list[str]) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "AugmentedManifestFile",
                "S3Uri": manifest,
                "S3DataDistributionType": "FullyReplicated",
                "AttributeNames": attributes,
            }
        },
        "ContentType": "application/x-recordio",
        "CompressionType": "None",
        "RecordWrapperType": "RecordIO",
        "InputMode": "Pipe",
    }


def _starting_model(settings: Settings) -> list[dict[str, Any]]:
    """The channel that a network starts from (SageMaker, "Incremental Training"), if any."""
    if not settings.starting_model_key:
        return []
    return [
        {
            "ChannelName": "model",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": f"s3://{settings.work_bucket}/{settings.starting_model_key}",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "ContentType": "application/x-sagemaker-model",
            "CompressionType": "None",
            "RecordWrapperType": "None",
            "InputMode": "File",
        }
    ]


def _spot(settings: Settings, checkpoints: str) -> dict[str, Any]:
    run_seconds = round(settings.training_max_hours * _SECONDS_PER_HOUR)
    return {
        "EnableManagedSpotTraining": True,
        # As long again to wait for spare capacity as to run.
        "StoppingCondition": {
            "MaxRuntimeInSeconds": run_seconds,
            "MaxWaitTimeInSeconds": 2 * run_seconds,
        },
        "CheckpointConfig": {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"},
    }
