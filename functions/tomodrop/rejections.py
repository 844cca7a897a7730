"""Rejections by intake: why an upload cannot be classified or learnt from, for as long as it holds.

A labelled upload has no prediction that would take its rejection's place; what does is its slices
in the data set. So whoever names slices looks for a rejection afterwards, and whoever rejects looks
afterwards whether a newer version lies there: of the two at least one sees the other. What both
miss, since they died, the sweep finds.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from tomodrop import keys, objects
from tomodrop.clients import THREADS, App
from tomodrop.errors import UploadRejected
from tomodrop.predictions import Rejection, rejected
from tomodrop.publishing import drop_unless_newer, publish
from tomodrop.slices import Source


def reject(app: App, source: Source, fault: UploadRejected) -> None:
    """Publish why an upload cannot be classified or learnt from."""
    rejection = Rejection(code=fault.code, message=fault.message, remedy=fault.remedy)
    publish(app.s3, app.settings.predictions_bucket, source, rejected(source, rejection))
    if source.key.startswith(keys.LABELLED) and _is_replaced(app, source):
        drop_rejection(app, source)


def drop_rejections(app: App, taken_in: Iterable[Source]) -> None:
    """Delete the rejections of labelled uploads that are in the data set now."""
    with ThreadPoolExecutor(THREADS) as pool:
        # Drained, so that a failure is raised here.
        list(pool.map(lambda source: drop_rejection(app, source), taken_in))


def drop_rejection(app: App, by: Source) -> None:
    """Delete the rejection of this version of an upload or of an older one; a newer one stays."""
    drop_unless_newer(app.s3, app.settings.predictions_bucket, keys.rejection_key(by.key), by)


def _is_replaced(app: App, source: Source) -> bool:
    """Whether another version is the current one. An upload that was deleted keeps its result."""
    try:
        current = app.s3.head_object(Bucket=source.bucket, Key=source.key)
    except ClientError as error:
        if objects.is_absent(error):
            return False
        raise
    there = keys.upload_id(source.key, current.get("VersionId", ""), current["ETag"].strip('"'))
    return there != keys.upload_id(source.key, source.version_id, source.etag)
