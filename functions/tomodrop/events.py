"""What wakes the functions, parsed into values; raw dictionaries stop here.

Shapes: aws.amazon.com/s3 "Event message structure" (through SQS), EventBridge's "SageMaker
Transform/Training Job State Change", EventBridge Scheduler's input of `template.yaml`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from tomodrop.errors import EventError

TERMINAL_STATUSES = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True)
class UploadEvent:
    """One object version that S3 (or `sweep`) says was created. `sequencer` may be empty."""

    bucket: str
    key: str
    version_id: str
    etag: str
    sequencer: str
    size_bytes: int


@dataclass(frozen=True)
class JobEnded:
    """A SageMaker job that reached a terminal status."""

    name: str
    status: str
    failure_reason: str


@dataclass(frozen=True)
class RollbackAsked:
    """Somebody wants the model of an earlier training to be live again."""

    training_job: str


def parse_s3_message(body: str) -> list[UploadEvent]:
    """Every upload in one SQS message; an S3 test message or a removal holds none.

    Raises
    ------
    EventError
        The body is no S3 notification, or of a major version that is not 2.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        # ValueError: not JSON, or a number of more digits than Python reads.
        raise EventError("the message is not JSON, so no S3 notification") from None
    if not isinstance(message, Mapping):
        raise EventError("the message is not a JSON object, so no S3 notification")
    if message.get("Event") == "s3:TestEvent":
        return []
    records = message.get("Records")
    if not isinstance(records, list):
        raise EventError("the message has no list 'Records', so it is no S3 notification")
    uploads = [_parse_s3_record(record) for record in records]
    return [upload for upload in uploads if upload]


def _parse_s3_record(record: Any) -> UploadEvent | None:
    try:
        # AWS: compare the major version for equality, ignore minor versions and unknown fields.
        if str(record["eventVersion"]).split(".")[0] != "2":
            message = f"S3 event version {record['eventVersion']} is unknown (this reads 2.x)"
            raise EventError(message)
        name = _text(record["eventName"], may_be_empty=True)
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return None
        described = record["s3"]["object"]
        return UploadEvent(
            bucket=_text(record["s3"]["bucket"]["name"]),
            key=unquote_plus(_text(described["key"])),
            version_id=_text(described.get("versionId") or "", may_be_empty=True),
            etag=_text(described.get("eTag") or "", may_be_empty=True),
            sequencer=_text(described.get("sequencer") or "", may_be_empty=True),
            size_bytes=int(described.get("size") or 0),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        message = f"an S3 record lacks or garbles a field ({type(error).__name__})"
        raise EventError(message) from None


def _text(value: Any, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or may_be_empty):
        raise TypeError
    return value


def s3_message(upload: UploadEvent, *, event_name: str, event_time: datetime) -> str:
    """The SQS body that S3 would send for this upload: how `sweep` sends one round again."""
    described = {
        "key": quote_plus(upload.key, safe="/"),
        "size": upload.size_bytes,
        "eTag": upload.etag,
        "versionId": upload.version_id or None,
        "sequencer": upload.sequencer or None,
    }
    record = {
        "eventVersion": "2.5",
        "eventSource": "aws:s3",
        "eventName": event_name,
        "eventTime": event_time.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": upload.bucket},
            "object": {name: value for name, value in described.items() if value is not None},
        },
    }
    return json.dumps({"Records": [record]})


def parse_transform_event(event: Mapping[str, Any]) -> JobEnded:
    """An EventBridge "SageMaker Transform Job State Change".

    Raises
    ------
    EventError
        Another event, or a status that is not terminal.
    """
    return _parse_job_event(event, "Transform")


def parse_training_event(event: Mapping[str, Any]) -> JobEnded:
    """An EventBridge "SageMaker Training Job State Change"; refusals as for transform jobs."""
    return _parse_job_event(event, "Training")


def parse_promote_event(event: Mapping[str, Any]) -> JobEnded | RollbackAsked:
    """What wakes promote: a training or an evaluation that ended, or somebody who asks.

    Raises
    ------
    EventError
        Another event, a status that is not terminal, or a `rollback_to` that names nothing.
    """
    if "rollback_to" in event:
        target = event["rollback_to"]
        if not isinstance(target, str) or not target:
            raise EventError('rollback_to must name a training job: {"rollback_to": "<job>"}')
        return RollbackAsked(target)
    is_transform = "Transform" in str(event.get("detail-type"))
    return parse_transform_event(event) if is_transform else parse_training_event(event)


def _parse_job_event(event: Mapping[str, Any], kind: str) -> JobEnded:
    wanted = f"SageMaker {kind} Job State Change"
    if event.get("source") != "aws.sagemaker" or event.get("detail-type") != wanted:
        message = f"expected '{wanted}', got '{event.get('detail-type')}': check the rule's pattern"
        raise EventError(message)
    detail = event.get("detail")
    if not isinstance(detail, Mapping) or not isinstance(detail.get(f"{kind}JobName"), str):
        message = f"the '{wanted}' event names no job"
        raise EventError(message)
    status = detail.get(f"{kind}JobStatus")
    if status not in TERMINAL_STATUSES:
        message = f"job {detail[f'{kind}JobName']} is '{status}', not at its end: check the rule"
        raise EventError(message)
    return JobEnded(detail[f"{kind}JobName"], str(status), str(detail.get("FailureReason") or ""))


def asks_for_audit(event: Mapping[str, Any]) -> bool:
    """Whether `sweep` is asked for a receipt (`{"audit": true}`), and not called by its schedule.

    Raises
    ------
    EventError
        `audit` is anything but true.
    """
    if "audit" not in event:
        return False
    if event["audit"] is not True:
        message = f'audit is {event["audit"]!r}; an audit is asked for by {{"audit": true}}'
        raise EventError(message)
    return True


def parse_schedule_event(event: Mapping[str, Any]) -> datetime:
    """When the schedule meant to fire (UTC): `{"scheduled_time": "2026-11-24T03:00:00Z"}`.

    Raises
    ------
    EventError
        The input lacks the time, or it is no ISO 8601 time with a zone.
    """
    text = event.get("scheduled_time")
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        message = (
            f"scheduled_time is '{text}', not an ISO 8601 time with a zone; the schedule's input "
            'must be {"scheduled_time": "<aws.scheduler.scheduled-time>"}'
        )
        raise EventError(message)
    return time.astimezone(UTC)
