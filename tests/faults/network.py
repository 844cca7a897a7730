"""Between the functions' clients and moto: every request passes here, and may not get there.

Requests are botocore's, after its parameters were checked and before its retries are counted: what
is refused or lost here is tried again by botocore as it would be in a function.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.retries.quota import RetryQuota
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.request import normalize_request
from werkzeug.exceptions import HTTPException

from tests.faults.errors import Crash, SimulatorError
from tests.functions.builders import ACCOUNT


class Order(Enum):
    """What becomes of one request."""

    GO = "go"
    DIE_BEFORE = "crash before a call"
    DIE_AFTER = "crash after a call"
    THROTTLE = "throttled"
    DENY = "access denied"
    QUOTA = "quota used up"
    LOSE_REQUEST = "request lost"
    LOSE_REPLY = "reply lost"


@dataclass(frozen=True)
class Call:
    """A request on its way: `service` as in "s3", `operation` as in "PutObject"."""

    service: str
    operation: str
    request: AWSPreparedRequest


Send = Callable[[Call], AWSResponse]
_JSON_CODES = {
    Order.THROTTLE: {"dynamodb": "ProvisionedThroughputExceededException"},
    Order.DENY: {},
    Order.QUOTA: {"sagemaker": "ResourceLimitExceeded"},
}
_DEFAULT_CODES = {Order.THROTTLE: "ThrottlingException", Order.DENY: "AccessDeniedException"}
_S3_CODES = {Order.THROTTLE: (503, "SlowDown"), Order.DENY: (403, "AccessDenied")}


def carry_out(order: Order, call: Call, send: Send) -> AWSResponse:
    """The answer that botocore gets.

    Raises
    ------
    Crash
        The process died.
    ConnectionClosedError
        The request or its answer got lost.
    """
    if order is Order.DIE_BEFORE:
        raise Crash
    if order is Order.LOSE_REQUEST:
        raise ConnectionClosedError(endpoint_url=call.request.url)
    if order in _DEFAULT_CODES or order is Order.QUOTA:
        return refusal(order, call)
    answer = send(call)
    if order is Order.DIE_AFTER:
        raise Crash
    if order is Order.LOSE_REPLY:
        raise ConnectionClosedError(endpoint_url=call.request.url)
    return answer


def refusal(order: Order, call: Call) -> AWSResponse:
    """An error in the words of its service."""
    url = str(call.request.url)
    if call.service == "s3":
        status, code = _S3_CODES[order]
        # HEAD answers have no body: all that S3 can say there is the status.
        text = f"<Error><Code>{code}</Code><Message>simulated</Message></Error>"
        body = b"" if call.operation.startswith("Head") else text.encode()
        return _response(url, status, {"content-type": "application/xml"}, body)
    code = _JSON_CODES[order].get(call.service) or _DEFAULT_CODES[order]
    return json_answer(url, 400, {"__type": code, "message": "simulated"})


def json_answer(url: str, status: int, content: dict[str, Any]) -> AWSResponse:
    """An answer of one of the JSON services."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-RequestId": "simulated"}
    return _response(url, status, headers, json.dumps(content).encode())


@contextmanager
def installed(answer: Send, slept: Callable[[float], None]) -> Iterator[Send]:
    """Let `answer` have every request; yields moto's own way of answering.

    Waits between retries take no time; the budget of retries, which a client keeps from one
    invocation to the next, is never used up, so that one schedule leaves nothing to the next.
    """

    def intercept(
        stubber: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **_: Any
    ) -> AWSResponse | None:
        if not stubber.enabled:
            return None
        service, operation = event_name.split(".")[1:]
        return answer(Call(service.replace("-", ""), operation, request))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "__call__", intercept)
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=slept))
        patch.setattr(RetryQuota, "acquire", lambda *_: True)
        yield to_moto


def to_moto(call: Call) -> AWSResponse:
    """Moto's answer, asked for as moto's own hook does but without its search for the service."""
    request = normalize_request(call.request)
    place = request.url.split("?")[0]
    for pattern, method in _routes(call.service):
        if pattern.match(place):
            try:
                status, headers, body = method(request, request.raw_url, request.headers)
            except HTTPException as error:
                told = dict(error.get_headers())
                return _response(place, error.code or 500, told, str(error.get_body()))
            return _response(place, status, headers, body)
    message = f"moto has no {call.service} at {place}"
    raise SimulatorError(message)


def _response(url: str, status: int, headers: Any, body: str | bytes) -> AWSResponse:
    return AWSResponse(url, status, headers, MockRawResponse(body))


@cache
def _routes(service: str) -> list[tuple[re.Pattern[str], Callable[..., Any]]]:
    regions = get_backend(service)[ACCOUNT]  # type: ignore[call-overload]
    urls = regions["aws" if service == "s3" else "us-east-1"].urls
    return [(re.compile(url), method) for url, method in urls.items()]
