"""The functions that the stack has, and the environment each of them runs in."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.stack import ClientFactory, Resource, Stack

LAMBDA_RETRIES = 2
VERSION = "$LATEST"


@dataclass(frozen=True)
class Function:
    """One deployed function.

    `variables`: what the template gives it. `concurrency`: its reserved concurrency, None if unset.
    `failure_queue`: ARN of the queue for events that it failed on, from its on-failure destination
    (`failure_record` true) or its DeadLetterConfig. `retries`: of asynchronous events.
    """

    logical_id: str
    name: str
    arn: str
    role_arn: str
    handler: str
    runtime: str
    timeout_s: int
    memory_mb: int
    variables: Mapping[str, str]
    code_folder: Path
    concurrency: int | None = None
    failure_queue: str | None = None
    failure_record: bool = False
    retries: int = LAMBDA_RETRIES

    @property
    def account(self) -> str:
        """The account it is in."""
        return self.arn.split(":")[4]


def deployed_functions(
    client: ClientFactory, stack: Stack, code_folders: Mapping[str, Path]
) -> list[Function]:
    """Every function of the stack, as the Lambda API describes it."""
    return [
        _function(client("lambda"), resource, code_folders[resource.logical_id])
        for resource in stack.of_type("AWS::Lambda::Function")
    ]


def _function(client: Any, resource: Resource, code_folder: Path) -> Function:
    described = client.get_function(FunctionName=resource.physical_id)
    settings = described["Configuration"]
    events = _event_settings(client, resource)
    return Function(
        logical_id=resource.logical_id,
        name=settings["FunctionName"],
        arn=settings["FunctionArn"],
        role_arn=settings["Role"],
        handler=settings["Handler"],
        runtime=settings["Runtime"],
        timeout_s=int(settings["Timeout"]),
        memory_mb=int(settings["MemorySize"]),
        variables=settings.get("Environment", {}).get("Variables", {}),
        code_folder=code_folder,
        concurrency=described.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        **events,
    )


def _event_settings(client: Any, resource: Resource) -> dict[str, Any]:
    """What becomes of asynchronous events that the function fails on."""
    # moto's Lambda does not keep DeadLetterConfig, so it comes from the template.
    dead_letters = resource.properties.get("DeadLetterConfig", {}).get("TargetArn")
    found: dict[str, Any] = {"failure_queue": dead_letters}
    try:
        settings = client.get_function_event_invoke_config(FunctionName=resource.physical_id)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return found
    destination = settings.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if destination is not None:
        found |= {"failure_queue": destination, "failure_record": True}
    found["retries"] = settings.get("MaximumRetryAttempts", LAMBDA_RETRIES)
    return found


@dataclass(frozen=True)
class Platform:
    """What every worker of one running cloud shares."""

    region: str
    endpoint_url: str
    sagemaker_url: str
    scratch_folder: Path


def worker_environment(
    function: Function, platform: Platform, credentials: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a function's workers: Lambda's own variables and the template's.

    `credentials` as STS words them: AccessKeyId, SecretAccessKey, SessionToken.
    """
    lambda_own = {
        "AWS_REGION": platform.region,
        "AWS_DEFAULT_REGION": platform.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "POWERTOOLS_TRACE_DISABLED": "true",  # nobody listens for traces on one machine
        "LAMBDA_TASK_ROOT": str(function.code_folder),
        "LAMBDA_RUNTIME_DIR": str(Path(__file__).parent),
        "_HANDLER": function.handler,
        "LANG": "en_US.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "TZ": ":UTC",
    }
    places = {
        "AWS_ENDPOINT_URL": platform.endpoint_url,
        "AWS_ENDPOINT_URL_SAGEMAKER": platform.sagemaker_url,
        # On AWS, /tmp belongs to the worker alone; here it is this machine's.
        "HOME": str(platform.scratch_folder),
        "TMPDIR": str(platform.scratch_folder),
    }
    identity = {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }
    # Lambda refuses its own names in a template; were one here, Lambda's would win.
    return {**function.variables, **lambda_own, **places, **identity}
