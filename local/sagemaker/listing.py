"""The three List operations: filter, sort, page. Pure."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from botocore.utils import parse_to_aware_datetime

from local.sagemaker.errors import ValidationError
from local.sagemaker.records import Json, Record

DEFAULT_PAGE = 10


@dataclass(frozen=True)
class Listing:
    """How one kind is listed."""

    answer_field: str
    summary: Callable[[Record], Json]
    status: Callable[[Record], str]
    descending: bool


def list_records(records: Iterable[Record], request: Json, listing: Listing) -> Json:
    """The answer to a List operation. Raises ValidationError for a token that is not ours."""
    chosen = [record for record in records if _matches(record, request, listing)]
    key = _sort_key(request.get("SortBy", "CreationTime"), listing)
    descending = request.get("SortOrder", "Descending" if listing.descending else "Ascending")
    backwards = descending == "Descending"
    chosen.sort(key=key, reverse=backwards)
    if "NextToken" in request:
        last = _decode_token(request["NextToken"])
        chosen = [r for r in chosen if (key(r) < last if backwards else key(r) > last)]
    size = request.get("MaxResults", DEFAULT_PAGE)
    answer: Json = {listing.answer_field: [listing.summary(record) for record in chosen[:size]]}
    if len(chosen) > size:
        answer["NextToken"] = _encode_token(key(chosen[size - 1]))
    return answer


def _matches(record: Record, request: Json, listing: Listing) -> bool:
    if request.get("NameContains", "") not in record.name:
        return False
    if "StatusEquals" in request and listing.status(record) != request["StatusEquals"]:
        return False
    times = {
        "CreationTime": record.description["CreationTime"],
        "LastModifiedTime": record.modified,
    }
    for field, at in times.items():
        after, before = request.get(f"{field}After"), request.get(f"{field}Before")
        if after is not None and at <= _seconds(after):
            return False
        if before is not None and at >= _seconds(before):
            return False
    return True


def _sort_key(by: str, listing: Listing) -> Callable[[Record], tuple[Any, str]]:
    """The name makes every key unique, so that a page can go on where the last one ended."""
    values: dict[str, Callable[[Record], Any]] = {
        "Name": lambda record: record.name,
        "Status": listing.status,
        "CreationTime": lambda record: record.description["CreationTime"],
    }
    return lambda record: (values[by](record), record.name)


def _seconds(value: Any) -> float:
    """Epoch seconds of a timestamp: boto3 sends numbers, others may send ISO text."""
    return float(parse_to_aware_datetime(value).timestamp())


def _encode_token(key: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _decode_token(token: str) -> tuple[Any, str]:
    try:
        value, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValidationError("Invalid NextToken: take it from the answer before") from error
    return value, name
