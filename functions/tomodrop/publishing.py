"""Put a result where users look, exactly once per upload, never an older one over a newer one.

Each upload has one JSON, under `predictions/` or `rejected/`. Writers may run twice, at once, or in
the wrong order, so a result is put with S3's conditional writes and the other folder is looked at
*after* the put: of two writers at least one then sees both, and the older result goes. It goes by a
conditional delete too: by then a third writer may have put a newer one in its place.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from tomodrop import keys
from tomodrop.objects import error_code, is_absent
from tomodrop.predictions import Result
from tomodrop.slices import Source, is_newer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# ConditionalRequestConflict: somebody is writing now. PreconditionFailed: somebody wrote first.
_BUSY = frozenset({"ConditionalRequestConflict", "409"})
_REPLACED = frozenset({"PreconditionFailed", "412"})
_MAX_RACES = 10


@dataclass(frozen=True)
class _Stored:
    """A result that lies in the bucket: the upload version it answers, and its own ETag."""

    source: Source
    etag: str


def publish(s3: "S3Client", bucket: str, source: Source, result: Result) -> bool:
    """Store the result of one upload version; False when a newer or equal one was there.

    Of one version's prediction and rejection the prediction stays.

    Raises
    ------
    ClientError
        S3 refused for another reason than a lost race, or ten races were lost in a row.
    """
    homes = (keys.prediction_key(source.key), keys.rejection_key(source.key))
    own, other = homes if result.status == "predicted" else homes[::-1]
    is_new, mine = _put_if_newer(s3, bucket, own, source, result.to_json())
    opposite = _stored(s3, bucket, other)
    if not opposite:
        return is_new
    if _outweighs(source, result.status, opposite.source):
        _delete_unless_replaced(s3, bucket, other, opposite)
        return is_new
    if mine:
        _delete_unless_replaced(s3, bucket, own, mine)
    return False


def _outweighs(source: Source, status: Literal["predicted", "rejected"], opposite: Source) -> bool:
    if is_newer(source, opposite):
        return True
    return status == "predicted" and not is_newer(opposite, source)


def _put_if_newer(
    s3: "S3Client", bucket: str, key: str, source: Source, body: bytes
) -> tuple[bool, _Stored | None]:
    """Whether the result was put, and the result of this version that lies there now, if any."""
    condition: dict[str, str] = {"IfNoneMatch": "*"}
    for _ in range(_MAX_RACES):
        try:
            put = s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                Metadata=_metadata(source),
                **condition,  # type: ignore[arg-type] # one of two keyword arguments
            )
        except ClientError as error:
            # Absent: the result that IfMatch names was deleted in between.
            if error_code(error) not in _BUSY | _REPLACED and not is_absent(error):
                raise
            lost = error
        else:
            return True, _Stored(source, put["ETag"])
        there = _stored(s3, bucket, key)
        if there and not is_newer(source, there.source):
            return False, None if is_newer(there.source, source) else there
        condition = {"IfMatch": there.etag} if there else {"IfNoneMatch": "*"}
    raise lost


def _delete_unless_replaced(s3: "S3Client", bucket: str, key: str, seen: _Stored) -> None:
    for races_left in reversed(range(_MAX_RACES)):
        try:
            s3.delete_object(Bucket=bucket, Key=key, IfMatch=seen.etag)
        except ClientError as error:
            if error_code(error) in _BUSY and races_left:
                continue
            if error_code(error) not in _REPLACED and not is_absent(error):
                raise
        return


def _metadata(source: Source) -> dict[str, str]:
    return {
        "upload-version": source.version_id,
        "upload-sequencer": source.sequencer,
        "upload-modified": source.last_modified,
    }


def _stored(s3: "S3Client", bucket: str, key: str) -> _Stored | None:
    """The result at `key`; None when there is none."""
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
    return _Stored(source, head["ETag"])
