"""What the world does between two calls: other writers, refusals, crashes. Through botocore's hooks.

The code under test and its clients stay as they are; a hook sees each call before it is sent.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse


class Crash(BaseException):
    """The process dies here: no `except Exception` may outlive it."""


@contextmanager
def before_call(client: Any, number: int, action: Callable[[], Any]) -> Iterator[list[str]]:
    """Run `action` once, before the call of this number (from 0); yields the calls' names.

    Calls that the action makes through the same client are neither counted nor interfered with.
    """
    seen: list[str] = []
    inside = False

    def hook(model: Any, **_: Any) -> None:
        nonlocal inside
        if inside:
            return
        seen.append(model.name)
        if len(seen) == number + 1:
            inside = True
            try:
                action()
            finally:
                inside = False

    with _registered(client, "before-call", hook):
        yield seen


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
        answer = AWSResponse("https://refused", status, {}, None)
        return answer, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}

    service = client.meta.service_model.service_id.hyphenize()
    with _registered(client, f"before-call.{service}.{operation}", hook):
        yield refused


@contextmanager
def losing_reply(client: Any, operation: str) -> Iterator[None]:
    """The service does what it is asked, and its answer is lost: the process dies after the call."""

    def hook(**_: Any) -> None:
        raise Crash(operation)

    service = client.meta.service_model.service_id.hyphenize()
    with _registered(client, f"after-call.{service}.{operation}", hook):
        yield


@contextmanager
def watching(client: Any) -> Iterator[list[str]]:
    """Nothing happens; yields the calls' names."""
    with before_call(client, -1, lambda: None) as seen:
        yield seen


@contextmanager
def _registered(client: Any, event: str, hook: Callable[..., Any]) -> Iterator[None]:
    client.meta.events.register_first(event, hook)
    try:
        yield
    finally:
        client.meta.events.unregister(event, hook)
