"""Put a result where users look, exactly once per upload, never an older one over a newer one.

Each upload has one JSON, under `predictions/` or `rejected/`. Writers may run twice, at once, or in
the wrong order, so a result is put with S3's conditional writes and the other folder is looked at
*after* the put: of two writers at least one then sees both, and the older result goes.
"""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tomodrop import keys
from tomodrop.objects import error_code, is_absent
from tomodrop.predictions import Result
from tomodrop.slices import Source, is_newer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# PreconditionFailed: somebody wrote first. ConditionalRequestConflict: somebody is writing now.
_LOST_RACE = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_MAX_RACES = 10


def publish(s3: "S3Client", bucket: str, source: Source, result: Result) -> bool:
    """Store the result of one upload version; False when a newer or equal one was there.

    Raises
    ------
    ClientError
        S3 refused for another reason than a lost race, or ten races were lost in a row.
    """
    homes = (keys.prediction_key(source.key), keys.rejection_key(source.key))
    own, other = homes if result.status == "predicted" else homes[::-1]
    stored = _put_if_newer(s3, bucket, own, source, result.to_json())
    opposite = _stored_source(s3, bucket, other)
    if not opposite:
        return stored
    loser = other if is_newer(source, opposite[0]) else own
    s3.delete_object(Bucket=bucket, Key=loser)
    return stored and loser == other


def _put_if_newer(s3: "S3Client", bucket: str, key: str, source: Source, body: bytes) -> bool:
    condition: dict[str, str] = {"IfNoneMatch": "*"}
    for race in range(_MAX_RACES):
        try:
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                Metadata=_metadata(source),
                **condition,  # type: ignore[arg-type] # one of two keyword arguments
            )
        except ClientError as error:
            if error_code(error) not in _LOST_RACE or race == _MAX_RACES - 1:
                raise
        else:
            return True
        there = _stored_source(s3, bucket, key)
        if there and not is_newer(source, there[0]):
            return False
        condition = {"IfMatch": there[1]} if there else {"IfNoneMatch": "*"}
    return False


def _metadata(source: Source) -> dict[str, str]:
    return {
        "upload-version": source.version_id,
        "upload-sequencer": source.sequencer,
        "upload-modified": source.last_modified,
    }


def _stored_source(s3: "S3Client", bucket: str, key: str) -> tuple[Source, str] | None:
    """What the result at `key` answers, and its ETag; None when there is none."""
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if is_absent(error):
            return None
        raise
    metadata = head["Metadata"]
    source = Source(
        bucket="",
        key="",
        version_id=metadata.get("upload-version", ""),
        etag="",
        sequencer=metadata.get("upload-sequencer", ""),
        size_bytes=0,
        sha256="",
        last_modified=metadata.get("upload-modified", ""),
    )
    return source, head["ETag"]
