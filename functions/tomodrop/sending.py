"""Uploads are announced to intake again, as S3 does, but never more than its queue can bear."""

from datetime import datetime
from functools import cached_property

from aws_lambda_powertools import Logger

from tomodrop.clients import App
from tomodrop.events import UploadEvent, s3_message
from tomodrop.listings import Upload

MESSAGES_PER_CALL = 10  # SQS's own limit
# Uploads whose messages wait in the queue are overdue too, once it is long: sent again each time,
# they would make it longer for ever.
LONGEST_QUEUE = 100_000

logger = Logger(child=True)


class Sender:
    """Sends uploads to intake as S3 does, as long as the queue is not too long."""

    def __init__(self, app: App, now: datetime) -> None:
        self._app, self._now = app, now
        self.sent = 0

    def announce(self, uploads: list[Upload]) -> None:
        """Send them, or as many as there is room for; the next sweep finds the rest."""
        room = max(0, self._room - self.sent) if uploads else 0
        if room < len(uploads):
            logger.warning("the queue is long: overdue uploads are left for the next sweep")
        for start in range(0, min(room, len(uploads)), MESSAGES_PER_CALL):
            self._send_some(uploads[start : min(room, start + MESSAGES_PER_CALL)])

    def _send_some(self, uploads: list[Upload]) -> None:
        answer = self._app.sqs.send_message_batch(
            QueueUrl=self._app.settings.intake_queue_url,
            Entries=[
                {"Id": str(place), "MessageBody": self._message(upload)}
                for place, upload in enumerate(uploads)
            ],
        )
        self.sent += len(answer.get("Successful", []))
        codes = sorted({failed["Code"] for failed in answer.get("Failed", [])})
        if codes:
            logger.warning("some were not sent: the next sweep does", extra={"codes": codes})

    @cached_property
    def _room(self) -> int:
        there = self._app.sqs.get_queue_attributes(
            QueueUrl=self._app.settings.intake_queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        waiting = int(there["ApproximateNumberOfMessages"])
        return LONGEST_QUEUE - waiting - int(there["ApproximateNumberOfMessagesNotVisible"])

    def _message(self, upload: Upload) -> str:
        assert upload.current is not None
        version = upload.current
        event = UploadEvent(
            bucket=self._app.settings.uploads_bucket,
            key=upload.key,
            version_id="" if version.version_id == "null" else version.version_id,
            etag=version.etag,
            sequencer="",
            size_bytes=version.size_bytes,
        )
        return s3_message(event, event_name="ObjectCreated:Put", event_time=self._now)
