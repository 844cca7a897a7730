"""The message that S3 sends about an object, in the shape S3 sends today. Pure."""

import itertools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

EVENT_VERSION = "2.6"


@dataclass(frozen=True)
class ObjectChange:
    """One change to one object version. `event_name` as in "s3:ObjectCreated:Put"."""

    event_name: str
    event_time: str
    region: str
    account: str
    bucket: str
    configuration_id: str
    key: str
    version_id: str | None
    etag: str
    size: int
    sequencer: str


def notification(change: ObjectChange) -> dict[str, Any]:
    """The body of the SQS message, one record, with the key form-urlencoded as S3 does."""
    stored: dict[str, Any] = {"key": quote_plus(change.key, safe="/")}
    if change.event_name.startswith("s3:ObjectCreated:"):
        stored |= {"size": change.size, "eTag": change.etag}
    if change.version_id is not None:
        stored["versionId"] = change.version_id
    stored["sequencer"] = change.sequencer
    record = {
        "eventVersion": EVENT_VERSION,
        "eventSource": "aws:s3",
        "awsRegion": change.region,
        "eventTime": change.event_time,
        "eventName": change.event_name.removeprefix("s3:"),
        "userIdentity": {"principalId": f"AWS:{change.account}"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {
            "x-amz-request-id": secrets.token_hex(8).upper(),
            "x-amz-id-2": secrets.token_urlsafe(56),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": change.configuration_id,
            "bucket": {
                "name": change.bucket,
                "ownerIdentity": {"principalId": change.account},
                "arn": f"arn:aws:s3:::{change.bucket}",
            },
            "object": stored,
        },
    }
    return {"Records": [record]}


class Sequencer:
    """Hexadecimal sequencers that only grow, across restarts and clock steps too.

    S3 promises order for one key; this server gives it for all of them.
    """

    def __init__(self, after: str = "", now: Callable[[], float] = time.time) -> None:
        microseconds = int(now() * 1_000_000)
        first = max(microseconds, int(after, 16) + 1 if after else 0)
        self._numbers = itertools.count(first)
        self._lock = threading.Lock()

    def next(self) -> str:
        """The next sequencer, 18 hexadecimal digits as S3's usually are."""
        with self._lock:
            return f"{next(self._numbers):018X}"
