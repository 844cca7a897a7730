"""Call one function of a running stack with a sample event, with or without Docker.

A run writes `env.json` into its state folder, in the form that `sam local invoke --env-vars` takes;
`tomodrop invoke` reads it to find the running stack and calls the same workers that events reach.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

ENVIRONMENT_FILE = "env.json"


class InvokeError(Exception):
    """The function cannot be called; the text says what to do."""


def write_environment(
    folder: Path, functions: Iterable[str], environment_of: Callable[[str], Mapping[str, str]]
) -> Path:
    """Write `env.json`: logical id of each function → its whole environment.

    It holds credentials of the emulated services, which open nothing else.
    """
    path = folder / ENVIRONMENT_FILE
    content = {name: dict(environment_of(name)) for name in functions}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def invoke(state: Path, function: str, event: Path) -> tuple[bool, str]:
    """Call a function of the stack that runs on `state`; returns whether it succeeded, its answer.

    Raises
    ------
    InvokeError
        No stack runs there, it has no such function, or the event is no JSON.
    """
    environment = environment_of(state, function)
    try:
        payload = json.dumps(json.loads(event.read_bytes()))
    except OSError as error:
        raise InvokeError(f"The event {event} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvokeError(f"The event {event} is not JSON: {error}.") from error
    return call(environment, payload, state)


def call(environment: Mapping[str, str], payload: str, state: Path) -> tuple[bool, str]:
    """Call the function whose environment this is; returns whether it succeeded, its answer.

    Raises InvokeError when no stack answers.
    """
    client = boto3.client(
        "lambda",
        **connection_of(environment),
        # One try: a function called twice does its work twice. Lambda's longest run is 900 s.
        config=Config(retries={"total_max_attempts": 1}, read_timeout=920),
    )
    name = environment["AWS_LAMBDA_FUNCTION_NAME"]
    try:
        answer: Mapping[str, Any] = client.invoke(FunctionName=name, Payload=payload.encode())
    except BotoCoreError as error:
        raise InvokeError(
            f"No stack answers for {state}. Start it: tomodrop run --state {state} …"
        ) from error
    return "FunctionError" not in answer, answer["Payload"].read().decode()


def connection_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """What boto3 is to be told to reach the services of the stack that a function belongs to."""
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": environment["AWS_SESSION_TOKEN"],
    }


def environment_of(state: Path, function: str) -> Mapping[str, str]:
    """The environment of a function of the stack that runs on `state`.

    Raises
    ------
    InvokeError
        No stack was started there, or it has no such function.
    """
    path = state / ENVIRONMENT_FILE
    try:
        functions: Mapping[str, Mapping[str, str]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvokeError(
            f"{path} is not there. Start a stack first: tomodrop run --state {state} …"
        ) from error
    if function not in functions:
        raise InvokeError(f"There is no function {function}; one of {', '.join(functions)}.")
    return functions[function]
