"""The AWS clients of a process and its settings, made once: the composition root of every step."""

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from tomodrop.settings import Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient

# Outputs are fetched and JSON is published by this many threads; botocore's pool holds as many.
THREADS = 16


@dataclass(frozen=True)
class App:
    """Settings and clients. Handlers get it from `app()`; tests build their own."""

    settings: Settings
    s3: "S3Client"
    sagemaker: "SageMakerClient"
    ssm: "SSMClient"
    sqs: "SQSClient"
    table: "Table"


def connect(settings: Settings) -> App:
    """Make the clients. Endpoints and credentials come from the environment, as boto3 reads it."""
    config = Config(
        retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=2 * THREADS
    )
    return App(
        settings=settings,
        s3=boto3.client("s3", config=config),
        sagemaker=boto3.client("sagemaker", config=config),
        ssm=boto3.client("ssm", config=config),
        sqs=boto3.client("sqs", config=config),
        table=boto3.resource("dynamodb", config=config).Table(settings.batch_table),
    )


@cache
def app() -> App:
    """The process's own App, read from its environment on first use."""
    return connect(Settings.from_environment(os.environ))
