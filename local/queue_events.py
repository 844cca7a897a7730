"""What Lambda makes of queue messages, and what it reads from a function's answer. Pure."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from moto.events.models import EventPattern

SqsMessage = Mapping[str, Any]


def sqs_event(messages: Sequence[SqsMessage], queue_arn: str) -> dict[str, Any]:
    """The event for a batch of messages, as ReceiveMessage returned them."""
    region = queue_arn.split(":")[3]
    return {"Records": [_record(message, queue_arn, region) for message in messages]}


def _record(message: SqsMessage, queue_arn: str, region: str) -> dict[str, Any]:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message["Attributes"]),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }
    if "MD5OfMessageAttributes" in message:
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }
    if "StringValue" in value:
        content["stringValue"] = value["StringValue"]
    return content


def failed_messages(answer: Any, message_ids: Collection[str]) -> set[str]:
    """The messages that a function reports as failed (ReportBatchItemFailures).

    As Lambda reads it: no answer, an empty one, or an empty list is success; an answer of another
    shape, an empty id or an id that was not in the batch fails the whole batch.
    """
    everything = set(message_ids)
    if answer is None or answer == {}:
        return set()
    reported = answer.get("batchItemFailures", []) if isinstance(answer, Mapping) else answer
    if reported is None or reported == []:
        return set()
    if not isinstance(reported, list):
        return everything
    failed = {
        str(entry.get("itemIdentifier")) if isinstance(entry, Mapping) else "" for entry in reported
    }
    strange = failed - everything
    return everything if strange else failed


def is_wanted(message: SqsMessage, filters: Sequence[Mapping[str, str]]) -> bool:
    """Whether a message passes a mapping's FilterCriteria; without filters every message does.

    A pattern for a JSON body does not fit a body of plain text, and the other way round.
    """
    if not filters:
        return True
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = message["Body"]
    content: Any = {"body": body, "attributes": dict(message["Attributes"])}
    return any(EventPattern.load(entry["Pattern"]).matches_event(content) for entry in filters)
