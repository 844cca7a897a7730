"""State changes as EventBridge events, in the shape SageMaker really sends.

Times inside `detail` are epoch milliseconds (the samples in AWS's documentation show ISO text;
events in production carry integers), the envelope's own time is ISO.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from local.sagemaker import training_record, transform_record
from local.sagemaker.records import Json, Record
from local.sagemaker.settings import Identity

DETAIL_TYPES = {
    "training-job": "SageMaker Training Job State Change",
    "transform-job": "SageMaker Transform Job State Change",
}


def announced(record: Record, identity: Identity, event_id: str, now: float) -> Record:
    """The record with the event of its present state among the undelivered ones."""
    event = state_change(record, identity, event_id, now)
    return replace(record, undelivered=(*record.undelivered, event))


def delivered(record: Record, event_id: str) -> Record:
    """The record without this event."""
    remaining = tuple(event for event in record.undelivered if event["id"] != event_id)
    return replace(record, undelivered=remaining)


def state_change(record: Record, identity: Identity, event_id: str, now: float) -> Json:
    """The full envelope for the record's present state."""
    module = training_record if record.kind == "training-job" else transform_record
    return {
        "version": "0",
        "id": event_id,
        "detail-type": DETAIL_TYPES[record.kind],
        "source": "aws.sagemaker",
        "account": identity.account,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": identity.region,
        "resources": [record.arn],
        "detail": in_milliseconds(module.event_detail(record)),
    }


def in_milliseconds(value: Any, field: str = "") -> Any:
    """A copy with every field whose name ends in "Time" turned from seconds to milliseconds."""
    if isinstance(value, dict):
        return {key: in_milliseconds(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [in_milliseconds(item, field) for item in value]
    if field.endswith("Time") and isinstance(value, int | float):
        return round(value * 1000)
    return value
