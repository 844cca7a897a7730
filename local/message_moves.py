"""StartMessageMoveTask and ListMessageMoveTasks of SQS, which moto lacks: dead letters go back.

A task is done when its call is answered: queues on one machine are short. As on AWS, only the
dead-letter queues of other queues can be emptied so, and a message that moves is a new one.
"""

import json
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from local.gateway import Reply, error_reply, json_reply
from local.queue_model import RecordedQueue, message_content, message_from

OPERATIONS = ("StartMessageMoveTask", "ListMessageMoveTasks")
_MOST_RESULTS = 10


class MessageMoves:
    """The tasks of one region's queues, by name. Whoever calls holds `RecordedQueue.traffic`.

    moto types them as its own, of which the seams have left none.
    """

    def __init__(self, queues: Mapping[str, Any]) -> None:
        self._queues = queues
        self._tasks: list[dict[str, Any]] = []

    def answer(self, operation: str, body: bytes) -> Reply:
        """Answer a request for one of `OPERATIONS`."""
        request: dict[str, Any] = json.loads(body)
        source = self._queue(request.get("SourceArn", ""))
        if source is None:
            return _refusal("ResourceNotFoundException", "There is no such queue.")
        if operation == "ListMessageMoveTasks":
            return self._list(source, request.get("MaxResults", 1))
        return self._start(source, request.get("DestinationArn"))

    def _list(self, source: RecordedQueue, most: int) -> Reply:
        found = [task for task in self._tasks if task["SourceArn"] == source.queue_arn]
        return json_reply(HTTPStatus.OK, {"Results": found[::-1][: min(most, _MOST_RESULTS)]})

    def _start(self, source: RecordedQueue, destination_arn: str | None) -> Reply:
        origins = [queue for queue in self._queues.values() if _is_letterbox(source, queue)]
        if not origins:
            return _refusal(
                "UnsupportedOperation", "Source queue must be configured as a Dead Letter Queue."
            )
        target = self._queue(destination_arn) if destination_arn else origins[0]
        if target is None:
            return _refusal("ResourceNotFoundException", "There is no such destination queue.")
        moved = move_all(source, target)
        self._tasks.append(
            {
                "Status": "COMPLETED",
                "SourceArn": source.queue_arn,
                **({"DestinationArn": destination_arn} if destination_arn else {}),
                "ApproximateNumberOfMessagesMoved": moved,
                "ApproximateNumberOfMessagesToMove": moved,
                "StartedTimestamp": int(time.time() * 1000),
            }
        )
        return json_reply(HTTPStatus.OK, {"TaskHandle": str(uuid.uuid4())})

    def _queue(self, arn: str) -> RecordedQueue | None:
        return next((queue for queue in self._queues.values() if queue.queue_arn == arn), None)


def move_all(source: RecordedQueue, target: RecordedQueue) -> int:
    """Move every message that nobody has in hand; returns how many moved.

    A message is in its new queue, on disk as well, before it leaves the old one: whatever happens
    in between doubles it and never loses it.
    """
    moved = 0
    while ready := source.messages:
        for message in ready:
            target.add_message(message_from(str(uuid.uuid4()), message_content(message)))
            source.take_out(message)
            moved += 1
    return moved


def _is_letterbox(source: RecordedQueue, queue: RecordedQueue) -> bool:
    policy = queue.redrive_policy or {}
    return bool(policy.get("deadLetterTargetArn") == source.queue_arn)


def _refusal(code: str, message: str) -> Reply:
    return error_reply(HTTPStatus.BAD_REQUEST, code, message)
