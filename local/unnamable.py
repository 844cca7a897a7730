"""Files whose names S3 cannot take get their JSON too: a rejection, under a name that it can."""

from typing import Any

from local.folders import LeftOut
from tomodrop import keys
from tomodrop.predictions import Rejection, rejected
from tomodrop.slices import Source

CODE = "file_name"


def publish_rejection(s3: Any, uploads: str, predictions: str, left_out: LeftOut) -> str:
    """Put the rejection into the predictions bucket; returns its key.

    The file was never uploaded, so its JSON names no version.
    """
    key = f"{keys.INCOMING}{left_out.path}"
    source = Source(
        bucket=uploads,
        key=key,
        version_id="",
        etag="",
        sequencer="",
        size_bytes=0,
        sha256="",
        last_modified="",
    )
    what, _, remedy = left_out.reason.rpartition(": ")
    rejection = Rejection(
        code=CODE,
        message=f"The file was not uploaded: {what}.",
        remedy=f"{remedy[:1].upper()}{remedy[1:]}, and drop the file again.",
    )
    result_key = keys.rejection_key(key)
    s3.put_object(
        Bucket=predictions,
        Key=result_key,
        Body=rejected(source, rejection).to_json(),
        ContentType="application/json",
    )
    return result_key
