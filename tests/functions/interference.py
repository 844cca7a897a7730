"""What the world does between two calls, through botocore's hooks: other writers, refusals, death.

The code under test and its clients stay as they are; a hook sees each call before it is sent.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.sagemaker.models import sagemaker_backends

from tests.functions.builders import ACCOUNT
from tomodrop.clients import App


class Crash(BaseException):
    """The process dies here: no `except Exception` may outlive it."""


def crash() -> None:
    """Die, as an action between two calls."""
    raise Crash


def clients_of(app: App) -> tuple[Any, ...]:
    """Every client that a step calls AWS by."""
    return app.s3, app.sagemaker, app.ssm, app.sqs, app.sns, app.table.meta.client


@contextmanager
def before_call(
    number: int, action: Callable[[], Any], *clients: Any, stays_down: bool = False
) -> Iterator[list[str]]:
    """Run `action` before the call of this number (from 0); yields the calls' names.

    Calls that the action makes itself are neither counted nor interfered with. `stays_down`: the
    action, which makes none, is run before all later calls too: a dead process makes none of them.
    """
    seen: list[str] = []
    lock = threading.Lock()
    inside = threading.Event()  # a step's threads call as well, and so do the action's

    def hook(model: Any, **_: Any) -> None:
        if inside.is_set():
            return
        with lock:
            seen.append(model.name)
            called = len(seen)
        if stays_down and called > number:
            action()
        elif called == number + 1:
            inside.set()
            try:
                action()
            finally:
                inside.clear()

    with ExitStack() as hooks:
        for client in clients:
            hooks.enter_context(_registered(client, "before-call", hook))
        yield seen


def dies_before(number: int, app: App, step: Callable[[], Any]) -> bool:
    """Run a step that dies before its call of this number; False: it came to its end first."""
    try:
        with before_call(number, crash, *clients_of(app), stays_down=True):
            step()
    except Crash:
        return True
    return False


@contextmanager
def refusing(
    client: Any, operation: str, code: str, *, status: int = 400, times: int = 1000
) -> Iterator[list[str]]:
    """The service answers an operation with an error, so many times; yields the refused calls."""
    refused: list[str] = []

    def hook(model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if len(refused) >= times:
            return None
        refused.append(model.name)
        error = {"Code": code, "Message": f"refused: {code}"}
        answer = AWSResponse("https://refused", status, HTTPHeaders(), None)
        return answer, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}

    with _registered(client, _event("before-call", client, operation), hook):
        yield refused


@contextmanager
def answering(
    client: Any, operation: str, parsed: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:
    """The service answers an operation like this; yields the requests. For what moto lacks."""
    asked: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(dict(params))

    def hook(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        return AWSResponse("https://answered", 200, HTTPHeaders(), None), parsed

    with (
        _registered(client, _event("before-parameter-build", client, operation), note),
        _registered(client, _event("before-call", client, operation), hook),
    ):
        yield asked


@contextmanager
def unique_names(sagemaker: Any) -> Iterator[None]:
    """A transform job's name can be used once, as SageMaker has it; moto takes it twice."""

    def hook(params: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        name = json.loads(params["body"])["TransformJobName"]
        if name not in sagemaker_backends[ACCOUNT]["us-east-1"].transform_jobs:
            return None
        answer = AWSResponse("https://refused", 400, HTTPHeaders(), None)
        return answer, {"Error": {"Code": "ResourceInUse", "Message": "exists already"}}

    with _registered(sagemaker, _event("before-call", sagemaker, "CreateTransformJob"), hook):
        yield


@contextmanager
def losing_reply(client: Any, operation: str) -> Iterator[None]:
    """The service does what it is asked, and the process dies before it hears of it."""

    def hook(**_: Any) -> None:
        raise Crash

    with _registered(client, _event("after-call", client, operation), hook):
        yield


def _event(name: str, client: Any, operation: str) -> str:
    return f"{name}.{client.meta.service_model.service_id.hyphenize()}.{operation}"


@contextmanager
def _registered(client: Any, event: str, hook: Callable[..., Any]) -> Iterator[None]:
    client.meta.events.register_first(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)
