"""SQS → function: what Lambda's event source mappings do.

One poller per mapping collects batches (by size, window and payload) and hands each to a thread, as
many at once as the mapping allows and this machine has processors. What the function finished is
deleted; what it did not comes back, and after the queue's maxReceiveCount goes to its dead-letter
queue (moto moves it on a later receive).
"""

import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.background import run_in_background
from local.errors import CloudStoppedError, TemplateError
from local.queue_events import SqsMessage, failed_messages, is_wanted, sqs_event
from local.stack import ClientFactory
from local.workers import WorkerPool

RECEIVE_AT_MOST = 10
LONG_POLL_S = 1
PAUSE_AFTER_ERROR_S = 1.0
LARGEST_PAYLOAD_BYTES = 5 * 1024 * 1024  # Lambda takes 6 MB, the envelope included
# When a failed message may be received again. Lambda leaves it hidden for the queue's whole
# visibility time-out, minutes, since another poller may still hold it; here nobody does.
FIRST_RETRY_S = 1
LONGEST_RETRY_S = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueueMapping:
    """One event source mapping, as Lambda's API describes it, with its queue's URL."""

    function_arn: str
    queue_arn: str
    queue_url: str
    batch_size: int
    window_s: float
    concurrency: int
    reports_failures: bool
    filters: Sequence[dict[str, str]]


def take_over_mappings(client: ClientFactory) -> list[QueueMapping]:
    """The stack's mappings, switched off in moto, which would deliver in its own way.

    Raises TemplateError for a mapping whose source is no queue.
    """
    described = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    mappings = []
    for entry in described:
        if entry["EventSourceArn"].split(":")[2] != "sqs":
            raise TemplateError(f"{entry['EventSourceArn']}: only queues are event sources here.")
        client("lambda").update_event_source_mapping(UUID=entry["UUID"], Enabled=False)
        if entry["State"] != "Disabled":
            mappings.append(_mapping(client("sqs"), entry))
    return mappings


def _mapping(sqs: Any, entry: dict[str, Any]) -> QueueMapping:
    queue = entry["EventSourceArn"].rpartition(":")[2]
    processors = os.cpu_count() or 1
    allowed = entry.get("ScalingConfig", {}).get("MaximumConcurrency", processors)
    return QueueMapping(
        function_arn=entry["FunctionArn"],
        queue_arn=entry["EventSourceArn"],
        queue_url=sqs.get_queue_url(QueueName=queue)["QueueUrl"],
        batch_size=int(entry["BatchSize"]),
        window_s=float(entry.get("MaximumBatchingWindowInSeconds", 0)),
        concurrency=max(1, min(int(allowed), processors)),
        reports_failures="ReportBatchItemFailures" in entry.get("FunctionResponseTypes", []),
        filters=entry.get("FilterCriteria", {}).get("Filters", []),
    )


class QueuePoller:
    """Delivers one mapping's messages from `start` to `stop`."""

    def __init__(
        self, mapping: QueueMapping, pool: WorkerPool, sqs: Any, executor: Executor
    ) -> None:
        self._mapping = mapping
        self._pool = pool
        self._sqs = sqs
        self._executor = executor
        self._slots = threading.Semaphore(mapping.concurrency)
        self._stopping = threading.Event()
        name = f"poller of {pool.function.logical_id}"
        self._thread = threading.Thread(target=self._poll, name=name)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Receive no more. Batches under way are the pool's affair."""
        self._stopping.set()
        self._slots.release()  # wakes the poller if it waits for one
        self._thread.join()

    def _poll(self) -> None:
        while True:
            # A slot first: a message received early would only use up its visibility time-out.
            self._slots.acquire()
            if self._stopping.is_set():
                return
            try:
                batch = self._collect()
            except (ClientError, BotoCoreError):
                logger.exception("cannot receive from %s", self._mapping.queue_arn)
                self._stopping.wait(PAUSE_AFTER_ERROR_S)
                batch = []
            if batch and not self._stopping.is_set():
                run_in_background(self._executor, self._deliver, batch)
            else:
                self._slots.release()

    def _collect(self) -> list[SqsMessage]:
        """A batch, complete by size, payload or time; empty when there was nothing."""
        batch = self._receive(self._mapping.batch_size, LONG_POLL_S)
        deadline = time.monotonic() + self._mapping.window_s
        while batch and len(batch) < self._mapping.batch_size and not self._stopping.is_set():
            left_s = deadline - time.monotonic()
            if left_s <= 0 or sum(len(entry["Body"]) for entry in batch) > LARGEST_PAYLOAD_BYTES:
                break
            wait_s = min(LONG_POLL_S, math.floor(left_s))
            more = self._receive(self._mapping.batch_size - len(batch), wait_s)
            if not more and wait_s == 0:
                self._stopping.wait(min(left_s, 0.1))
            batch += more
        return batch

    def _receive(self, at_most: int, wait_s: int) -> list[SqsMessage]:
        answer = self._sqs.receive_message(
            QueueUrl=self._mapping.queue_url,
            MaxNumberOfMessages=min(RECEIVE_AT_MOST, at_most),
            WaitTimeSeconds=wait_s,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        wanted = [entry for entry in messages if is_wanted(entry, self._mapping.filters)]
        self._delete([entry for entry in messages if entry not in wanted])
        return wanted

    def _deliver(self, batch: list[SqsMessage]) -> None:
        try:
            outcome = self._pool.invoke(sqs_event(batch, self._mapping.queue_arn))
            ids = [entry["MessageId"] for entry in batch]
            if outcome.error is not None:
                failed = set(ids)
                logger.warning("%s: %s", self._pool.function.logical_id, outcome.error)
            else:
                failed = (
                    failed_messages(outcome.result, ids)
                    if self._mapping.reports_failures
                    else set()
                )
            self._delete([entry for entry in batch if entry["MessageId"] not in failed])
            self._return([entry for entry in batch if entry["MessageId"] in failed])
        except CloudStoppedError:
            return  # the messages were not deleted: the next start delivers them
        except (ClientError, BotoCoreError):
            logger.exception("answer of %s", self._pool.function.logical_id)
        finally:
            self._slots.release()

    def _delete(self, messages: list[SqsMessage]) -> None:
        for start in range(0, len(messages), RECEIVE_AT_MOST):
            self._sqs.delete_message_batch(
                QueueUrl=self._mapping.queue_url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": entry["ReceiptHandle"]}
                    for number, entry in enumerate(messages[start : start + RECEIVE_AT_MOST])
                ],
            )

    def _return(self, messages: list[SqsMessage]) -> None:
        """Let failed messages be received again soon, later with each attempt."""
        for entry in messages:
            received = int(entry["Attributes"]["ApproximateReceiveCount"])
            self._sqs.change_message_visibility(
                QueueUrl=self._mapping.queue_url,
                ReceiptHandle=entry["ReceiptHandle"],
                VisibilityTimeout=min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (received - 1)),
            )
