"""Put a result where users look, exactly once per upload, never an older one over a newer one.

Each upload has one JSON, under `predictions/` or `rejected/`. Writers may run twice, at once, or in
the wrong order, so a result is put with S3's conditional writes and the other folder is looked at
*after* the put: of two writers at least one then sees both, and the older result goes. It goes by a
conditional delete too: by then a third writer may have put a newer one in its place.

Many results are put together, and the other folder is then looked at by listing it once for all.

A picture of class-activation maps lies beside its prediction, under one key for all versions. It is
put before the JSON that names it and goes before that does, by the same conditions, so a JSON that
stays has its picture, and no picture stays without its JSON, wherever a writer breaks off.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from os.path import commonprefix
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
_JSON, _PNG = "application/json", "image/png"
# A page of a listing costs about as much as so many looks at single keys (S3 pricing: LIST is
# billed as PUT, HEAD as GET).
_LOOKS_PER_LISTING = 16


@dataclass(frozen=True)
class Outcome:
    """The result of one upload version, and the picture of class-activation maps it names."""

    source: Source
    result: Result
    class_maps: bytes | None = None


@dataclass(frozen=True)
class _Stored:
    """What lies in the bucket: the upload version it is of, its own ETag, whether it has a picture.

    A picture has none.
    """

    source: Source
    etag: str
    has_picture: bool


@dataclass(frozen=True)
class _Written:
    """What came of a put: `mine` is the result of this version that lies at `own` now, if any.

    `other`: where a result of the other status would lie; "" for a labelled upload, which is never
    predicted.
    """

    source: Source
    status: Literal["predicted", "rejected"]
    own: str
    other: str
    is_new: bool
    mine: _Stored | None


def publish(s3: "S3Client", bucket: str, source: Source, result: Result) -> bool:
    """Store the result of one upload version; False when a newer or equal one was there.

    Of one version's prediction and rejection the prediction stays.

    Raises
    ------
    ClientError
        S3 refused for another reason than a lost race, or ten races were lost in a row.
    """
    return _settle(s3, bucket, _put(s3, bucket, Outcome(source, result)))


def publish_all(s3: "S3Client", bucket: str, pool: Executor, outcomes: Sequence[Outcome]) -> None:
    """`publish` many with their pictures, with hardly more than one call for each of both.

    Raises
    ------
    ClientError
        As `publish`; all other results that were begun are put.
    """
    # Drained, so that a failure is raised here.
    written = list(pool.map(lambda outcome: _put(s3, bucket, outcome), outcomes))
    absent = {
        key
        for status in ("predicted", "rejected")
        for key in absent_keys(
            s3, bucket, [w.other for w in written if w.status == status and w.other]
        )
    }
    unclear = [one for one in written if one.other and one.other not in absent]
    list(pool.map(lambda one: _settle(s3, bucket, one), unclear))


def source_of(s3: "S3Client", bucket: str, key: str) -> Source | None:
    """The upload version that a stored result answers; None: there is no result.

    Its metadata tell `version_id`, `sequencer` and `last_modified`, and nothing else.
    """
    stored = _stored(s3, bucket, key)
    return stored.source if stored else None


def let_one_go(s3: "S3Client", bucket: str, upload_key: str) -> None:
    """Where an upload has both results, the older one goes; of one version's the rejection."""
    homes = keys.prediction_key(upload_key), keys.rejection_key(upload_key)
    prediction, rejection = (_stored(s3, bucket, home) for home in homes)
    if not prediction or not rejection:
        return
    if is_newer(rejection.source, prediction.source):
        by = rejection.source.model_copy(update={"key": upload_key})
        _withdraw(s3, bucket, homes[0], prediction, by)
    else:
        _delete_unless_replaced(s3, bucket, homes[1], rejection)


def drop_unless_newer(s3: "S3Client", bucket: str, key: str, than: Source) -> None:
    """Delete an upload's result or picture, unless it is of a newer version than this one."""
    there = _stored(s3, bucket, key)
    if there and not is_newer(there.source, than):
        _delete_unless_replaced(s3, bucket, key, there)


def absent_keys(s3: "S3Client", bucket: str, wanted: Sequence[str]) -> set[str]:
    """Those of the keys that are certainly not there, found by listing from the first to the last.

    A listing that gets long, because many other keys lie between, is broken off: what was not
    reached is not among them.
    """
    ordered = sorted(wanted)
    if not ordered:
        return set()
    prefix = commonprefix(ordered)  # noqa: RUF071  (S3's prefixes are characters, not folders)
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=ordered[0][:-1]
    )
    present: set[str] = set()
    reached = ""
    for page in islice(pages, 1 + len(ordered) // _LOOKS_PER_LISTING):
        found = [item["Key"] for item in page.get("Contents", [])]
        present.update(found)
        reached = max([reached, *found])
        if not page["IsTruncated"] or reached >= ordered[-1]:
            return set(ordered) - present
    return {key for key in ordered if key <= reached} - present


def _put(s3: "S3Client", bucket: str, outcome: Outcome) -> _Written:
    source, status = outcome.source, outcome.result.status
    own, other = _homes(source.key, status)
    picture = outcome.class_maps
    if picture is not None:
        _put_if_newer(s3, bucket, keys.class_maps_key(source.key), _Body(source, picture, _PNG))
    body = _Body(source, outcome.result.to_json(), _JSON, has_picture=picture is not None)
    is_new, mine = _put_if_newer(s3, bucket, own, body)
    if picture is not None and not (mine and mine.has_picture):
        drop_unless_newer(s3, bucket, keys.class_maps_key(source.key), source)
    return _Written(source, status, own, other, is_new, mine)


def _homes(upload_key: str, status: Literal["predicted", "rejected"]) -> tuple[str, str]:
    if upload_key.startswith(keys.LABELLED):
        return keys.rejection_key(upload_key), ""
    prediction, rejection = keys.prediction_key(upload_key), keys.rejection_key(upload_key)
    return (prediction, rejection) if status == "predicted" else (rejection, prediction)


def _settle(s3: "S3Client", bucket: str, written: _Written) -> bool:
    """Let one of the two folders' results go, if both have one; whether ours is new and stays."""
    opposite = _stored(s3, bucket, written.other) if written.other else None
    if not opposite:
        return written.is_new
    if _outweighs(written.source, written.status, opposite.source):
        _withdraw(s3, bucket, written.other, opposite, written.source)
        return written.is_new
    if written.mine:
        _withdraw(s3, bucket, written.own, written.mine, written.source)
    return False


def _withdraw(s3: "S3Client", bucket: str, key: str, seen: _Stored, by: Source) -> None:
    if seen.has_picture:
        drop_unless_newer(s3, bucket, keys.class_maps_key(by.key), by)
    _delete_unless_replaced(s3, bucket, key, seen)


def _outweighs(source: Source, status: Literal["predicted", "rejected"], opposite: Source) -> bool:
    if is_newer(source, opposite):
        return True
    return status == "predicted" and not is_newer(opposite, source)


@dataclass(frozen=True)
class _Body:
    """What is put: of which version, its bytes and their type."""

    source: Source
    content: bytes
    content_type: str
    has_picture: bool = False

    @property
    def metadata(self) -> dict[str, str]:
        """What `_stored` reads."""
        source = self.source
        return {
            "upload-version": source.version_id,
            "upload-sequencer": source.sequencer,
            "upload-modified": source.last_modified,
        } | ({"class-maps": "1"} if self.has_picture else {})


def _put_if_newer(
    s3: "S3Client", bucket: str, key: str, body: _Body
) -> tuple[bool, _Stored | None]:
    """Whether it was put, and what of this version lies there now, if anything."""
    source = body.source
    condition: dict[str, str] = {"IfNoneMatch": "*"}
    for _ in range(_MAX_RACES):
        try:
            put = s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body.content,
                ContentType=body.content_type,
                Metadata=body.metadata,
                **condition,  # type: ignore[arg-type] # one of two keyword arguments
            )
        except ClientError as error:
            # Absent: the result that IfMatch names was deleted in between.
            if error_code(error) not in _BUSY | _REPLACED and not is_absent(error):
                raise
            lost = error
        else:
            return True, _Stored(source, put["ETag"], body.has_picture)
        there = _stored(s3, bucket, key)
        if there and not is_newer(source, there.source):
            return False, None if is_newer(there.source, source) else there
        if there and there.has_picture and not body.has_picture:
            drop_unless_newer(s3, bucket, keys.class_maps_key(source.key), source)
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


def _stored(s3: "S3Client", bucket: str, key: str) -> _Stored | None:
    """The result or picture at `key`; None when there is none."""
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
    return _Stored(source, head["ETag"], metadata.get("class-maps") == "1")
