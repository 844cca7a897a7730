"""Thin calls to S3: read, write and list whole objects."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
# PreconditionFailed: somebody wrote first. ConditionalRequestConflict: somebody is writing now.
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})

# Lines of text that are put together before they become bytes.
_PIECES_AT_ONCE = 1000


def error_code(error: ClientError) -> str:
    """AWS's code of an error, the only part of it that programs may decide by."""
    return str(error.response.get("Error", {}).get("Code", ""))


def read(s3: "S3Client", bucket: str, key: str) -> bytes:
    """The object's bytes. Raises ClientError when it is absent."""
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def read_if_there(s3: "S3Client", bucket: str, key: str) -> bytes | None:
    """The object's bytes, or None when there is no such object."""
    try:
        return read(s3, bucket, key)
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        raise


def is_absent(error: ClientError) -> bool:
    """Whether the error says that there is no such object or version."""
    return error_code(error) in _ABSENT


def write(s3: "S3Client", bucket: str, key: str, body: bytes, content_type: str) -> None:
    """Put one object."""
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)


def write_once(s3: "S3Client", bucket: str, key: str, body: bytes, content_type: str) -> bool:
    """Put one object unless there is one (or one is being written): then False."""
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
    except ClientError as error:
        if error_code(error) in _TAKEN:
            return False
        raise
    return True


def write_over(
    s3: "S3Client", bucket: str, key: str, body: bytes, content_type: str, etag: str
) -> bool:
    """Put one object over the one with this ETag; False: another is there, or is being written."""
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfMatch=etag)
    except ClientError as error:
        if error_code(error) in _TAKEN | _ABSENT:
            return False
        raise
    return True


def is_there(s3: "S3Client", bucket: str, key: str) -> bool:
    """Whether there is such an object."""
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return False
        raise
    return True


def listing(s3: "S3Client", bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Every object under a prefix in key order: `Key`, `Size`, `LastModified`, `ETag`."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        yield from page.get("Contents", [])  # type: ignore[misc] # a TypedDict is a dict


def keys_under(s3: "S3Client", bucket: str, prefix: str) -> list[str]:
    """Every key under a prefix, in order."""
    return [found["Key"] for found in listing(s3, bucket, prefix)]


class _Stream:
    """Pieces of text as a file that can be read once, as `upload_fileobj` wants it."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer at the end; all that are left for a negative number."""
        held, length = [self._left], len(self._left)
        while size < 0 or length < size:
            some = "".join(islice(self._pieces, _PIECES_AT_ONCE)).encode()
            if not some:
                break
            held.append(some)
            length += len(some)
        body = b"".join(held)
        end = len(body) if size < 0 else size
        self._left = body[end:]
        return body[:end]


def write_stream(
    s3: "S3Client", bucket: str, key: str, pieces: Iterable[str], content_type: str
) -> None:
    """Put one object of any size from pieces of text, in parts if it is large."""
    s3.upload_fileobj(
        cast("IO[bytes]", _Stream(pieces)),
        bucket,
        key,
        ExtraArgs={"ContentType": content_type},
        Config=TransferConfig(max_concurrency=4),
    )
