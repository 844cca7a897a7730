"""Lambda's Invoke over HTTP, answered by the worker processes: moto would want Docker.

So `aws lambda invoke --endpoint-url …` and boto3 reach the same workers that events do.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from http import HTTPStatus
from urllib.parse import unquote

from local.background import run_in_background
from local.errors import CloudStoppedError, FunctionFailedError
from local.gateway import (
    Application,
    Environ,
    Reply,
    StartResponse,
    error_reply,
    json_reply,
    read_body,
)
from local.invocations import AsyncInvoker
from local.workers import WorkerPool

INVOKE_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")


class InvokeGuard:
    """Guard of the Lambda API; everything but Invoke is moto's."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._pools: Mapping[str, WorkerPool] = {}
        self._invoker: AsyncInvoker | None = None

    def serve(self, pools: Iterable[WorkerPool], invoker: AsyncInvoker) -> None:
        """The stack is deployed: these functions can be invoked now."""
        self._pools = {pool.function.name: pool for pool in pools}
        self._invoker = invoker

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one Lambda request."""
        invoked = INVOKE_PATH.fullmatch(environ.get("PATH_INFO", ""))
        if invoked is None or environ["REQUEST_METHOD"] != "POST":
            return application(environ, start_response)
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        reply = self._invoke(_function_name(invoked[1]), kind, read_body(environ))
        return reply.send(start_response)

    def _invoke(self, name: str, kind: str, body: bytes) -> Reply:
        pool = self._pools.get(name)
        if pool is None or self._invoker is None:
            message = f"Function not found: {name}"
            return error_reply(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", message)
        try:
            event = json.loads(body or b"{}")
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            return error_reply(HTTPStatus.BAD_REQUEST, "InvalidRequestContentException", message)
        if kind == "DryRun":
            return Reply("204 No Content", [], b"")
        if kind == "Event":
            deliver = _quietly(self._invoker.deliver)
            run_in_background(self._executor, deliver, pool.function.arn, event)
            return Reply("202 Accepted", [], b"")
        return _run(pool, event)


def _run(pool: WorkerPool, event: object) -> Reply:
    try:
        outcome = pool.invoke(event)
    except CloudStoppedError as error:
        return error_reply(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceException", str(error))
    headers = {"x_amz_executed_version": "$LATEST"}
    if outcome.error is not None:
        return json_reply(HTTPStatus.OK, outcome.error, x_amz_function_error="Unhandled", **headers)
    return json_reply(HTTPStatus.OK, outcome.result, **headers)


def _quietly(deliver: Callable[..., object]) -> Callable[..., None]:
    """An asynchronous event has no one who waits: its failures are logged and set aside by then."""

    def run(function_arn: str, event: object) -> None:
        try:
            deliver(function_arn, event)
        except (FunctionFailedError, CloudStoppedError):
            return

    return run


def _function_name(text: str) -> str:
    """The name in what may also be an ARN, or carry a qualifier."""
    given = unquote(text)
    if given.startswith("arn:"):
        return given.split(":")[6]
    return given.partition(":")[0]
