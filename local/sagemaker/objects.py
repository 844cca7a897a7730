"""S3 as the jobs use it: a thin, typed layer over one boto3 client.

Errors are told apart here, once: what the creator of a job got wrong is a ClientJobError, a storage
that does not answer is an InternalJobError.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.calls import Recorder
from local.sagemaker.aws_library import LOCAL_ONLY, session
from local.sagemaker.errors import ClientJobError, InternalJobError

CHUNK_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
ABSENT = ("NoSuchKey", "NoSuchBucket", "404", "403", "AccessDenied")

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Address:
    """One object, or a prefix of several."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """`s3://bucket/key` taken apart. Raises ClientJobError for anything else."""
        parts = urlsplit(uri, allow_fragments=False)
        if parts.scheme != "s3" or not parts.netloc:
            raise ClientJobError(f"{uri!r} is not an s3:// address")
        # A key may hold a question mark; urlsplit takes it for a query.
        return cls(parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class TooLargeError(ClientJobError):
    """An object is larger than what may be read at once."""


class ObjectStore:
    """Reads and writes objects. Every method raises ClientJobError or InternalJobError."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: AWS_* variables with endpoint, region and credentials to use."""
        settings = Config(
            max_pool_connections=MAX_CONNECTIONS,
            retries={"mode": "standard", "max_attempts": 4},
            s3={"addressing_style": "path"},
        )
        self._client: Any = session().client(
            "s3",
            endpoint_url=environment.get("AWS_ENDPOINT_URL_S3") or environment["AWS_ENDPOINT_URL"],
            region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
            aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=environment.get("AWS_SESSION_TOKEN"),
            config=LOCAL_ONLY.merge(settings),
        )

    def record_calls(self, recorder: Recorder) -> None:
        """Tell of every call from now on."""
        for event, hook in recorder.hooks:
            self._client.meta.events.register(f"{event}.s3", hook)

    def read(self, address: Address, limit_bytes: int | None = None) -> bytes:
        """The whole object; TooLargeError beyond the limit, before the body is read."""
        return _translated(address, lambda: self._read(address, limit_bytes))

    def chunks(self, address: Address) -> Iterator[bytes]:
        """The object piece by piece."""
        body = _translated(address, lambda: self._get(address)["Body"])
        with body:
            while piece := _translated(address, lambda: bytes(body.read(CHUNK_BYTES))):
                yield piece

    def exists(self, address: Address) -> bool:
        """Whether there is such an object."""
        try:
            _translated(
                address, lambda: self._client.head_object(Bucket=address.bucket, Key=address.key)
            )
        except ClientJobError:
            return False
        return True

    def list(self, prefix: Address) -> list[Address]:
        """Every object whose key starts with the prefix, in key order; folder markers left out."""
        pages = self._client.get_paginator("list_objects_v2")

        def collect() -> list[Address]:
            return [
                Address(prefix.bucket, entry["Key"])
                for page in pages.paginate(Bucket=prefix.bucket, Prefix=prefix.key)
                for entry in page.get("Contents", [])
                if not entry["Key"].endswith("/")
            ]

        return _translated(prefix, collect)

    def write(self, address: Address, body: bytes) -> None:
        """Put a small object."""
        _translated(
            address,
            lambda: self._client.put_object(Bucket=address.bucket, Key=address.key, Body=body),
        )

    def download(self, address: Address, path: Path) -> None:
        """Write the object to a new file, in parts if it is large."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _translated(
            address, lambda: self._client.download_file(address.bucket, address.key, str(path))
        )

    def upload(self, path: Path, address: Address) -> None:
        """Put a file, in parts if it is large."""
        _translated(
            address, lambda: self._client.upload_file(str(path), address.bucket, address.key)
        )

    def delete(self, address: Address) -> None:
        """Remove an object; absent ones are fine."""
        _translated(
            address, lambda: self._client.delete_object(Bucket=address.bucket, Key=address.key)
        )

    def _get(self, address: Address) -> Any:
        return self._client.get_object(Bucket=address.bucket, Key=address.key)

    def _read(self, address: Address, limit_bytes: int | None) -> bytes:
        answer = self._get(address)
        with answer["Body"] as body:
            if limit_bytes is not None and answer["ContentLength"] > limit_bytes:
                raise TooLargeError(f"{address} has {answer['ContentLength']} bytes")
            return bytes(body.read())


def _translated(address: Address, call: Callable[[], T]) -> T:
    """Run one call to S3, with boto3's errors turned into ours."""
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        if code in ABSENT:
            raise ClientJobError(f"S3 answered {code} for {address}") from error
        raise InternalJobError(f"S3 answered {code} for {address}") from error
    except boto3.exceptions.S3UploadFailedError as error:
        raise ClientJobError(f"{address} cannot be written: {error}") from error
    except (BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
        raise InternalJobError(f"S3 failed for {address}: {type(error).__name__}") from error
