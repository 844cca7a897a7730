"""The AWS clients of a process and its settings, made once: the composition root of every step."""

import os
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

from tomodrop.settings import Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_s3 import S3Client
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sns import SNSClient
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
    sns: "SNSClient"
    table: "Table"


def connect(settings: Settings) -> App:
    """Make the clients. Endpoints and credentials come from the environment, as boto3 reads it."""
    config = Config(
        retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=2 * THREADS
    )
    core = botocore.session.get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=read_time)
    session = boto3.Session(botocore_session=core)
    return App(
        settings=settings,
        s3=session.client("s3", config=config),
        sagemaker=session.client("sagemaker", config=config),
        ssm=session.client("ssm", config=config),
        sqs=session.client("sqs", config=config),
        sns=session.client("sns", config=config),
        table=session.resource("dynamodb", config=config).Table(settings.batch_table),
    )


def read_time(value: Any) -> datetime:
    """A time in a service's answer, with its zone.

    botocore's own way takes any form of time, and more than half of what reading a listing takes.
    """
    if isinstance(value, str) and value.endswith("Z"):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    return parse_timestamp(value)


@cache
def app() -> App:
    """The process's own App, read from its environment on first use."""
    return connect(Settings.from_environment(os.environ))
