"""The guards of S3, DynamoDB, Parameter Store and SQS: on disk first, then the answer."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zlib import crc32

from moto.backends import get_backend

from local import moto_seams
from local.downloads import Downloads
from local.gateway import (
    Application,
    Environ,
    Reply,
    StartResponse,
    ask,
    error_reply,
    operation,
    read_body,
)
from local.message_moves import OPERATIONS, MessageMoves
from local.moto_seams import ACCOUNT, held_events
from local.object_model import ObjectRecorder, touched_keys
from local.queue_model import RecordedQueue
from local.table_model import TableRecorder, key_of_parameters, written_items

LOCK_STRIPES = 64
# How long a waiting receive call sleeps at most: a message whose visibility time-out ends makes
# no noise.
RECHECK_QUEUE_S = 0.25

UNRECORDED_WRITES = frozenset(
    {"BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction", "ImportTable"}
)


class ObjectGuard:
    """S3: one writer at a time per key, versions recorded, and only then their events sent."""

    def __init__(self, recorder: ObjectRecorder) -> None:
        self._recorder = recorder
        self._downloads = Downloads(recorder)
        self._locks = [threading.RLock() for _ in range(LOCK_STRIPES)]

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one S3 request."""
        bucket, key = _addressed(environ)
        if environ["REQUEST_METHOD"] == "GET" and key:
            return self._downloads.answer(application, environ, start_response, (bucket, key))
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        body = read_body(environ)
        with self._locked(bucket, key), held_events() as events, touched_keys() as touched:
            reply = ask(application, environ, body)
            if reply.ok and bucket and key:
                touched.add((bucket, key))  # its tags may be all that changed
            for changed in sorted(touched):
                self._recorder.record(*changed)
            for queue_arn, message in events:
                moto_seams.send_message(queue_arn, message)
        return reply.send(start_response)

    @contextlib.contextmanager
    def _locked(self, bucket: str, key: str) -> Iterator[None]:
        """Hold the key, or every key for a request that names none (deletion of many)."""
        stripe = crc32(f"{bucket}/{key}".encode()) % LOCK_STRIPES
        wanted = self._locks[stripe : stripe + 1] if key else self._locks
        with contextlib.ExitStack() as held:
            for lock in wanted:
                held.enter_context(lock)
            yield


def _addressed(environ: Environ) -> tuple[str, str]:
    """(bucket, key) of a path-style request, key "" when it is for the bucket."""
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    bucket, _, key = path.removeprefix("/").partition("/")
    return bucket, key


class TableGuard:
    """DynamoDB: one request at a time, since moto checks a condition and writes in two steps."""

    def __init__(self, recorder: TableRecorder) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one DynamoDB request."""
        wanted, body = operation(environ), read_body(environ)
        if wanted in UNRECORDED_WRITES:
            refusal = f"{wanted} is not available on one machine: its writes would not be kept."
            return error_reply(HTTPStatus.BAD_REQUEST, "ValidationException", refusal).send(
                start_response
            )
        with self._lock:
            reply = ask(application, environ, body)
            if reply.ok:
                for table, attributes in written_items(wanted, body):
                    self._recorder.record_item(table, attributes)
        return reply.send(start_response)


class ParameterGuard:
    """Parameter Store: one request at a time, values recorded."""

    def __init__(self, recorder: TableRecorder) -> None:
        self._recorder = recorder
        self._lock = threading.Lock()

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one Systems Manager request."""
        body = read_body(environ)
        with self._lock:
            reply = ask(application, environ, body)
            if reply.ok:
                for name in key_of_parameters(operation(environ), body):
                    self._recorder.record_parameter(name)
        return reply.send(start_response)


class QueueGuard:
    """SQS: one request at a time. Long polls wait here, without holding the queues."""

    def __init__(self, region: str) -> None:
        # Typed as moto's own queues, of which the seams have left none.
        self._queues: Any = get_backend("sqs")[ACCOUNT][region].queues
        self._moves = MessageMoves(self._queues)
        self._closing = False

    def close(self) -> None:
        """Answer the long polls that wait."""
        with RecordedQueue.traffic:
            self._closing = True
            RecordedQueue.arrivals.notify_all()

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one SQS request."""
        body = read_body(environ)
        if operation(environ) in OPERATIONS:
            with RecordedQueue.traffic:
                return self._moves.answer(operation(environ), body).send(start_response)
        body, wait_s = _without_waiting(environ, body, self._queues)
        deadline = time.monotonic() + wait_s
        with RecordedQueue.traffic:
            reply = ask(application, environ, body)
            while _is_empty(reply) and not self._closing:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                RecordedQueue.arrivals.wait(min(left_s, RECHECK_QUEUE_S))
                reply = ask(application, environ, body)
        return reply.send(start_response)


def _without_waiting(environ: Environ, body: bytes, queues: dict[str, Any]) -> tuple[bytes, float]:
    """A receive request turned into one that does not wait, and the seconds it asked to wait."""
    if operation(environ) == "ReceiveMessage":
        request = json.loads(body)
        name = str(request.get("QueueUrl", "")).rpartition("/")[2]
        default_s = getattr(queues.get(name), "receive_message_wait_time_seconds", 0)
        wait_s = request.get("WaitTimeSeconds", default_s)
        if isinstance(wait_s, int) and 0 <= wait_s <= 20:  # else SQS has to refuse it
            return json.dumps({**request, "WaitTimeSeconds": 0}).encode(), wait_s
    if b"Action=ReceiveMessage" in body:
        # The older query protocol polls without waiting: no client of ours speaks it.
        fields = [pair for pair in parse_qsl(body.decode()) if pair[0] != "WaitTimeSeconds"]
        return urlencode([*fields, ("WaitTimeSeconds", "0")]).encode(), 0.0
    return body, 0.0


def _is_empty(reply: Reply) -> bool:
    return reply.ok and reply.body.strip() == b"{}"


class ChangeGuard:
    """Tells someone after each request that may have changed something."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def __call__(
        self, application: Application, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        answer = list(application(environ, start_response))
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            self._tell()
        return answer
