"""The places where moto 5.2.5 is changed, all of them, in one file.

Embedded moto keeps everything in one process's memory and was made for short tests. Four of its
parts are replaced here for a server that runs for days and must lose nothing:

* `moto.s3.notifications.send_event` sends events of an old shape, without sequencer and version,
  and before the object is on disk; a multipart upload is announced twice. Ours collects the events
  of a request, and the gateway sends them once the object is safe (`held_events`).
* `moto.sqs.models.Queue` loses a message that arrives while another is deleted, and each call costs
  time in proportion to the queue. Ours is `local.queue_model.RecordedQueue`.
* `moto.s3.responses.S3Response.list_object_versions` copies every version in the bucket for each
  page, orders versions by milliseconds, and fails at keys that XML cannot hold. Ours does not.
* Every instance of every model is kept for ever in `instances_tracked`, for moto's own resets.

Everything else goes through the HTTP API. The seams fit one version of moto, so another is refused.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import moto
from moto.backends import get_backend
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.core.utils import iso_8601_datetime_with_milliseconds
from moto.moto_api._internal.models import moto_api_backend
from moto.s3 import notifications as moto_notifications
from moto.s3.responses import S3Response
from moto.sqs import models as sqs_models
from moto.sqs.models import Queue as MotoQueue

from local import version_listing
from local.errors import LocalCloudError
from local.queue_model import RecordedQueue
from local.s3_events import ObjectChange, Sequencer, notification

SUPPORTED_MOTO = "5.2.5"
ACCOUNT = DEFAULT_ACCOUNT_ID
PUT_EVENT = moto_notifications.S3NotificationEvent.OBJECT_CREATED_PUT_EVENT

# moto's own, which `uninstall` gives back.
_SEND_EVENT = moto_notifications.send_event
_SEND_TEST_EVENT = moto_notifications.send_test_event
_HAS_CFN_ATTR = MotoQueue.__dict__["has_cfn_attr"]
_LIST_VERSIONS = S3Response.list_object_versions

logger = logging.getLogger(__name__)


class _Outbox(threading.local):
    """The messages that the current request's thread has yet to send: (queue ARN, body)."""

    held: list[tuple[str, str]] | None = None


_outbox = _Outbox()
_sequencer = Sequencer()


def install(sequencer: Sequencer) -> None:
    """Put the seams in place.

    Raises LocalCloudError for any version of moto but the one they fit.
    """
    global _sequencer  # noqa: PLW0603  (moto calls a module function: there is no object to hold it)
    if moto.__version__ != SUPPORTED_MOTO:
        raise LocalCloudError(
            f"moto {moto.__version__} is installed, and local/moto_seams.py fits {SUPPORTED_MOTO} "
            "only. Install local/requirements.txt."
        )
    _sequencer = sequencer
    moto_notifications.send_event = send_event
    moto_notifications.send_test_event = send_test_event
    sqs_models.Queue = RecordedQueue  # type: ignore[misc]
    # CloudFormation asks the class it knew at import which attributes a queue has.
    MotoQueue.has_cfn_attr = RecordedQueue.has_cfn_attr  # type: ignore[method-assign]
    S3Response.list_object_versions = list_object_versions  # type: ignore[method-assign]


def uninstall() -> None:
    """Give moto its own parts back, for whoever uses it in this process after a cloud."""
    moto_notifications.send_event = _SEND_EVENT
    moto_notifications.send_test_event = _SEND_TEST_EVENT
    sqs_models.Queue = MotoQueue  # type: ignore[misc]
    MotoQueue.has_cfn_attr = _HAS_CFN_ATTR  # type: ignore[method-assign]
    S3Response.list_object_versions = _LIST_VERSIONS  # type: ignore[method-assign]
    RecordedQueue.journal = None


def send_event(account_id: str, event_name: str, bucket: Any, key: Any) -> None:
    """Stands in for moto's function: the S3 event of one change, to each queue that asked."""
    configuration = bucket.notification_configuration
    if configuration is None:
        return
    if event_name == PUT_EVENT and key.multipart is not None:
        return  # moto announces the parts' sum as Put too; CompleteMultipartUpload follows
    for wanted in configuration.queue:
        if wanted.matches(event_name, key.name):
            change = ObjectChange(
                event_name=str(getattr(event_name, "value", event_name)),
                event_time=iso_8601_datetime_with_milliseconds(),
                region=bucket.region_name,
                account=account_id,
                bucket=bucket.name,
                configuration_id=wanted.id,
                key=key.name,
                version_id=key.version_id if bucket.is_versioned else None,
                etag=getattr(key, "etag", "").strip('"'),
                size=getattr(key, "size", 0),
                sequencer=_sequencer.next(),
            )
            _post(wanted.arn, json.dumps(notification(change)))


def send_test_event(account_id: str, bucket: Any) -> None:  # noqa: ARG001  (moto's signature)
    """Stands in for moto's function: what S3 sends when notifications are configured."""
    for arn in {wanted.arn for wanted in bucket.notification_configuration.queue}:
        body = {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": iso_8601_datetime_with_milliseconds(),
            "Bucket": bucket.name,
            "RequestId": "0" * 16,
            "HostId": "local",
        }
        _post(arn, json.dumps(body))


def list_object_versions(self: S3Response) -> Any:
    """Stands in for moto's method: one page of versions and delete markers."""
    if "delimiter" in self.querystring:
        return _LIST_VERSIONS(self)
    query = self._get_querystring(self.request, self.uri)
    self.data["Action"] = "ListObjectVersions"
    bucket = self.backend.get_bucket(self.bucket_name)
    return self.serialized(ActionResult(version_listing.page_of(bucket, query)))


@contextmanager
def held_events() -> Iterator[list[tuple[str, str]]]:
    """Hold this thread's S3 events back; the caller sends them with `send_message`."""
    _outbox.held = []
    try:
        yield _outbox.held
    finally:
        _outbox.held = None


def send_message(
    queue_arn: str, body: str, attributes: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """Put one message on a queue, as S3, EventBridge and Lambda do from inside AWS.

    `attributes`: name → (data type, text).

    The queue may be gone (its stack was changed): AWS drops such a message too, and so do we, with
    a line in the log.
    """
    *_, region, account, name = queue_arn.split(":")
    backend: Any = get_backend("sqs")[account][region]
    if name not in backend.queues:
        logger.error("no queue %s: message dropped", queue_arn)
        return
    with RecordedQueue.traffic:
        backend.send_message(
            queue_name=name,
            message_body=body,
            message_attributes={
                key: {"DataType": kind, "StringValue": text}
                for key, (kind, text) in (attributes or {}).items()
            },
        )


def forget_instances() -> None:
    """Let go of the models that moto keeps for its resets: a slow leak in a server that runs on."""
    reset_model_data()


def reset_backends() -> None:
    """Forget every service's state: moto's backends are one per process."""
    moto_api_backend.reset()


def _post(queue_arn: str, body: str) -> None:
    if _outbox.held is None:
        send_message(queue_arn, body)
    else:
        _outbox.held.append((queue_arn, body))
