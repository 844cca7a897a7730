"""Botocore's part in this package: SageMaker's service model, and sessions deaf to the user.

Both are megabytes of JSON when they are first used, so both are made once in a process.
"""

from functools import cache

import boto3
import botocore.session
from botocore.config import Config
from botocore.model import ServiceModel

from local.aws_session import NO_USER_SETTINGS

LOCAL_ONLY = Config(proxies={})
"""What runs on this machine is never reached through a proxy."""


@cache
def service_model() -> ServiceModel:
    """SageMaker as botocore describes it."""
    session = botocore.session.Session(session_vars=NO_USER_SETTINGS)
    return session.get_service_model("sagemaker")


@cache
def session() -> boto3.Session:
    """Make clients of it with region and credentials named, and in one thread at a time."""
    core = botocore.session.Session(session_vars=NO_USER_SETTINGS)
    return boto3.Session(botocore_session=core)
