"""Starts jobs with the sagemaker SDK 3; its requests equal those of the scheduled steps.

The SDK fills gaps of its own accord (an hour to run, ml.m5.xlarge, a bucket of its making), so
everything is said. What it cannot be kept from: jobs are named after the time they start, and
their output and checkpoints carry the defaults in so many words.
"""

import os
import time
from typing import Any, Final

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Model, TransformJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
    VpcConfig,
)
from sagemaker.core.training.configs import (
    Channel,
    CheckpointConfig,
    Compute,
    DataSource,
    MetricDefinition,
    Networking,
    OutputDataConfig,
    S3DataSource,
    ShuffleConfig,
    StoppingCondition,
)
from sagemaker.train import ModelTrainer

from training.launching.options import TrainingOptions, TransformOptions

_ATTRIBUTES: Final = ["source-ref", "class"]
"""The image first, the label second: the order is part of the contract."""
_GROUP: Final = "group"
_MAX_PAYLOAD_MB: Final = 6
_ACCEPT: Final = {"plain": "application/jsonlines", "verbose": "application/jsonlines;verbose=1"}
# The SDK calls home unless its own configuration says no; a configuration given here also keeps
# defaults in files of the user's from changing the request.
_SDK_CONFIG: Final = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def start_training(options: TrainingOptions) -> str:
    """Start a training job, and see it to its end if the options say so; return its name."""
    # Otherwise the SDK simulates the role's policies first, which needs rights in IAM that
    # nobody who may start a job must have.
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    spot = options.checkpoints is not None
    trainer = ModelTrainer(
        sagemaker_session=_session(),
        training_image=options.image,
        training_input_mode="Pipe",
        role=options.role,
        base_job_name=f"{options.job_name_prefix}-train",
        hyperparameters=dict(options.hyperparameters),
        environment=dict(options.environment),
        input_data_config=_channels(options),
        output_data_config=OutputDataConfig(
            s3_output_path=options.output,
            compression_type="GZIP",
            kms_key_id=options.output_kms_key,
        ),
        compute=Compute(
            instance_type=options.instance_type,
            instance_count=options.instance_count,
            volume_size_in_gb=options.volume_gb,
            volume_kms_key_id=options.volume_kms_key,
            enable_managed_spot_training=True if spot else None,
        ),
        networking=Networking(
            enable_network_isolation=True,
            enable_inter_container_traffic_encryption=options.instance_count > 1,
            subnets=list(options.subnets) or None,
            security_group_ids=list(options.security_groups) or None,
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=options.max_seconds,
            # As long again to wait for spare capacity as to run.
            **({"max_wait_time_in_seconds": 2 * options.max_seconds} if spot else {}),
        ),
        checkpoint_config=CheckpointConfig(s3_uri=options.checkpoints) if spot else None,
    )
    if options.metrics:
        trainer.with_metric_definitions(
            [MetricDefinition(name=name, regex=regex) for name, regex in options.metrics]
        )
    trainer.train(wait=options.wait, logs=False)
    return str(trainer._latest_training_job.training_job_name)  # noqa: SLF001  # no other way


def _channels(options: TrainingOptions) -> list[Channel]:
    attributes = [*_ATTRIBUTES, _GROUP] if options.with_groups else _ATTRIBUTES
    channels = [
        _pipe_channel("train", options.train, attributes, shuffle_seed=options.shuffle_seed),
        _pipe_channel("validation", options.validation, attributes),
    ]
    if options.model:
        channels.append(_model_channel(options.model))
    return channels


def _pipe_channel(
    name: str, manifest: str, attributes: list[str], shuffle_seed: int | None = None
) -> Channel:
    source = S3DataSource(
        s3_data_type="AugmentedManifestFile",
        s3_uri=manifest,
        s3_data_distribution_type="FullyReplicated",
        attribute_names=attributes,
    )
    shuffled = {} if shuffle_seed is None else {"shuffle_config": ShuffleConfig(seed=shuffle_seed)}
    return Channel(
        channel_name=name,
        data_source=DataSource(s3_data_source=source),
        content_type="application/x-recordio",
        compression_type="None",
        record_wrapper_type="RecordIO",
        input_mode="Pipe",
        **shuffled,
    )


def _model_channel(artefact: str) -> Channel:
    source = S3DataSource(
        s3_data_type="S3Prefix", s3_uri=artefact, s3_data_distribution_type="FullyReplicated"
    )
    return Channel(
        channel_name="model",
        data_source=DataSource(s3_data_source=source),
        content_type="application/x-sagemaker-model",
        compression_type="None",
        record_wrapper_type="None",
        input_mode="File",
    )


def start_transform(options: TransformOptions) -> str:
    """Start a transform job, making its model first if need be; return the job's name."""
    session = boto3.Session()
    job_name = f"{options.job_name_prefix}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    job = TransformJob.create(
        session=session,
        transform_job_name=job_name,
        model_name=options.model_name or _make_model(options, job_name, session),
        max_concurrent_transforms=options.max_concurrent_transforms,
        max_payload_in_mb=_MAX_PAYLOAD_MB,
        batch_strategy="SingleRecord",
        transform_input=TransformInput(
            data_source=TransformDataSource(
                s3_data_source=TransformS3DataSource(
                    s3_data_type="ManifestFile", s3_uri=options.manifest
                )
            ),
            content_type="application/x-image",
            compression_type="None",
            split_type="None",
        ),
        transform_output=TransformOutput(
            s3_output_path=options.output,
            accept=_ACCEPT[options.answer_detail],
            assemble_with="Line",
            **_given(kms_key_id=options.output_kms_key),
        ),
        transform_resources=TransformResources(
            instance_type=options.instance_type,
            instance_count=options.instance_count,
            **_given(volume_kms_key_id=options.volume_kms_key),
        ),
    )
    if options.wait:
        job.wait()
    return job_name


def _make_model(options: TransformOptions, name: str, session: boto3.Session) -> str:
    """Make a model of the artefact; batch transform takes ``ModelDataUrl`` only."""
    Model.create(
        session=session,
        model_name=name,
        primary_container=ContainerDefinition(
            image=options.image, model_data_url=options.model_data
        ),
        execution_role_arn=options.role,
        enable_network_isolation=True,
        **_given(vpc_config=_network(options)),
    )
    return name


def _network(options: TransformOptions) -> VpcConfig | None:
    if not options.subnets:
        return None
    return VpcConfig(
        security_group_ids=list(options.security_groups), subnets=list(options.subnets)
    )


def _given(**values: Any) -> dict[str, Any]:
    """Those that are there: the SDK takes None for a value in its own shapes."""
    return {name: value for name, value in values.items() if value is not None}


def _session() -> Session:
    return Session(boto_session=boto3.Session(), sagemaker_config=_SDK_CONFIG)
