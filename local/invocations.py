"""Asynchronous invocation: an event is tried, tried again twice, and then set aside.

As on Lambda, except for the waits: a minute and then two would be long for someone who watches.

Where a failed event goes: to the function's own failure queue (on-failure destination, else
DeadLetterConfig), as Lambda does. A function that has neither loses the event on AWS; here it goes
to the dead-letter queue of the rule or schedule that sent it, so that nothing vanishes unseen.
"""

import itertools
import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local import moto_seams
from local.errors import CloudStoppedError, FunctionFailedError
from local.functions import Function
from local.workers import Outcome, WorkerPool

RETRY_DELAYS_S = (1.0, 3.0)
LONGEST_ERROR_MESSAGE = 1024

logger = logging.getLogger(__name__)

MessageAttributes = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class TargetQueue:
    """The dead-letter queue of a rule's or schedule's target, and what it says of itself there."""

    arn: str
    attributes: Mapping[str, str]


class AsyncInvoker:
    """Delivers events to functions by ARN. `deliver` blocks; call it from a thread of your own."""

    def __init__(
        self, pools: Sequence[WorkerPool], retry_delays_s: Sequence[float] = RETRY_DELAYS_S
    ) -> None:
        self._pools = {pool.function.arn: pool for pool in pools}
        self._delays_s = tuple(retry_delays_s)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()

    def knows(self, function_arn: str) -> bool:
        """Whether it is the ARN of a function of this stack."""
        return function_arn in self._pools

    def waiting(self, function: Function) -> int:
        """Events that wait for another attempt."""
        with self._lock:
            return self._waiting[function.arn]

    def stop(self) -> None:
        """End the waits; deliveries under way raise CloudStoppedError instead of trying again."""
        self._stopping.set()

    def deliver(self, function_arn: str, event: Any, target: TargetQueue | None = None) -> Any:
        """The function's result.

        Raises FunctionFailedError after the last attempt, when the event lies in a dead-letter
        queue, and CloudStoppedError when the event is still to be delivered.
        """
        pool = self._pools[function_arn]
        function = pool.function
        for attempt in itertools.count(1):
            outcome = pool.invoke(event)
            if outcome.error is None:
                return outcome.result
            logger.warning(
                "%s failed (attempt %d): %s", function.logical_id, attempt, outcome.error
            )
            if attempt > function.retries:
                self._set_aside(function, event, outcome, target)
                raise FunctionFailedError(function.logical_id, outcome.error)
            self._wait(function, self._delays_s[min(attempt, len(self._delays_s)) - 1])
        raise AssertionError("the attempts are counted without end")

    def _wait(self, function: Function, delay_s: float) -> None:
        with self._lock:
            self._waiting[function.arn] += 1
        try:
            if self._stopping.wait(delay_s):
                raise CloudStoppedError(f"{function.logical_id}: the cloud is stopping.")
        finally:
            with self._lock:
                self._waiting[function.arn] -= 1

    def _set_aside(
        self, function: Function, event: Any, outcome: Outcome, target: TargetQueue | None
    ) -> None:
        error = outcome.error or {}
        message = f"{error.get('errorType')}: {error.get('errorMessage')}"[:LONGEST_ERROR_MESSAGE]
        if function.failure_queue is not None:
            body = _failure_record(function, event, outcome) if function.failure_record else event
            attributes: MessageAttributes = {
                "RequestID": ("String", outcome.request_id),
                "ErrorCode": ("Number", "200"),
                "ErrorMessage": ("String", message),
            }
            moto_seams.send_message(function.failure_queue, json.dumps(body), attributes)
        elif target is not None:
            attributes = {name: ("String", text) for name, text in target.attributes.items()}
            attributes |= {
                "ERROR_CODE": ("String", "FUNCTION_ERROR"),
                "ERROR_MESSAGE": ("String", message),
                "EXHAUSTED_RETRY_CONDITION": ("String", "MaximumRetryAttempts"),
                "RETRY_ATTEMPTS": ("Number", str(function.retries)),
            }
            moto_seams.send_message(target.arn, json.dumps(event), attributes)
        else:
            logger.error("%s has no dead-letter queue: event lost", function.logical_id)


def _failure_record(function: Function, event: Any, outcome: Outcome) -> dict[str, Any]:
    """What Lambda sends to an on-failure destination."""
    return {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": outcome.request_id,
            "functionArn": f"{function.arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": function.retries + 1,
        },
        "requestPayload": event,
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "responsePayload": outcome.error,
    }
