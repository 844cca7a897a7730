# ruff: noqa: SLF001  (moto's models have no public way to be taken apart and put together again)
"""moto's object versions ⇄ what the state folder keeps of them.

Bodies lie in files only: once a version is recorded, moto's own buffer is exchanged for one that
reads the file, so ten thousand objects cost neither memory nor open files.
"""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.backends import get_backend
from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey
from moto.s3.utils import _VersionedKeyStore
from moto.utilities.utils import LowercaseDict

from local.errors import StateError
from local.moto_seams import ACCOUNT
from local.state import StateStore, StoredVersion

# The plain attributes of moto's FakeKey that a client can see.
KEPT_ATTRIBUTES = (
    "_etag",
    "_is_versioned",
    "_storage_class",
    "_version_id",
    "bucket_key_enabled",
    "checksum_algorithm",
    "checksum_parts",
    "checksum_type",
    "checksum_value",
    "contentsize",
    "encryption",
    "kms_key_id",
    "lock_legal_status",
    "lock_mode",
    "lock_until",
    "website_redirect_location",
)


class _Touched(threading.local):
    keys: set[tuple[str, str]] | None = None


_touched = _Touched()


@contextmanager
def touched_keys() -> Iterator[set[tuple[str, str]]]:
    """The (bucket, key) pairs whose versions this thread changes inside the block."""
    _touched.keys = set()
    try:
        yield _touched.keys
    finally:
        _touched.keys = None


class RecordedKeys(_VersionedKeyStore):
    """The keys of one bucket; tells `touched_keys` which of them change."""

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self._bucket = bucket

    def _touch(self, key: str) -> None:
        if _touched.keys is not None:
            _touched.keys.add((self._bucket, key))

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._touch(key)

    def setlist(self, key: Any, list_: Any) -> None:
        """Replace all versions of a key."""
        super().setlist(key, list_)
        self._touch(key)

    def pop(self, key: str) -> None:  # type: ignore[override]
        """Remove a key with all its versions."""
        super().pop(key)
        self._touch(key)


class BodyFile:
    """The body of a recorded version: what moto asks of a temporary file, with none held open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def seek(self, position: int) -> None:
        """Set where the next read starts, bytes from the beginning."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, or all that follow."""
        with self._path.open("rb") as body:
            body.seek(self._position)
            content = body.read(size)
        self._position += len(content)
        return content

    def close(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True)
class StoredBody:
    """Where the body of a version lies. `etag` as in the header, in quotes."""

    path: Path
    size: int
    etag: str


class ObjectRecorder:
    """Brings the stored versions of a key in line with moto's."""

    def __init__(self, store: StateStore, region: str) -> None:
        self._store = store
        self._backend: Any = get_backend("s3")[ACCOUNT]["aws"]
        self._region = region

    def record(self, bucket: str, key: str) -> None:
        """Store what moto holds of a key now. The caller holds the key's lock."""
        keys = self._backend.buckets[bucket].keys
        if isinstance(keys, RecordedKeys):
            stored = [self._store_version(bucket, key, entry) for entry in keys.getlist(key, [])]
            self._store.replace_versions(bucket, key, stored)

    def _store_version(self, bucket: str, key: str, entry: Any) -> StoredVersion:
        if getattr(entry, "recorded_id", None) is None:
            entry.recorded_id, path = self._store.new_body()
            if isinstance(entry, FakeKey):
                _move_body(entry, path)
        return StoredVersion(entry.recorded_id, bucket, key, self._about(entry))

    def _about(self, entry: Any) -> dict[str, Any]:
        about = {"last_modified": entry.last_modified.isoformat()}
        if isinstance(entry, FakeDeleteMarker):
            return about | {"marker": entry.version_id}
        return about | {
            "attributes": {name: getattr(entry, name) for name in KEPT_ATTRIBUTES},
            "metadata": dict(entry.metadata),
            "tags": self._backend.tagger.get_tag_dict_for_resource(entry.arn),
        }

    def body_of(self, bucket: str, key: str, version_id: str | None) -> StoredBody | None:
        """The body of a version (None: the latest), None if there is no such recorded version."""
        found = self._backend.buckets.get(bucket)
        versions = found.keys.getlist(key, []) if found is not None else []
        for entry in reversed(versions):
            if version_id in (None, entry.version_id):
                recorded_id = getattr(entry, "recorded_id", None)
                if recorded_id is None or isinstance(entry, FakeDeleteMarker):
                    return None
                return StoredBody(self._store.body_path(recorded_id), entry.size, entry.etag)
        return None

    def restore(self) -> None:
        """Put every stored version into moto's buckets, and record what changes from now on.

        Raises StateError for a body that is gone, and KeyError for a bucket that the stack does not
        have; `local.restore` checks that first.
        """
        for bucket in self._backend.buckets.values():
            bucket.keys = RecordedKeys(bucket.name)
        for stored in self._store.versions():
            bucket = self._backend.buckets[stored.bucket]
            bucket.keys[stored.key] = self._entry(bucket, stored)

    def _entry(self, bucket: FakeBucket, stored: StoredVersion) -> Any:
        about = stored.about
        entry: Any
        if "marker" in about:
            entry = FakeDeleteMarker(key=bucket.keys.get(stored.key) or self._key(stored))
            entry._version_id = about["marker"]
        else:
            entry = self._key(stored)
            body = self._store.body_path(stored.id)
            if not body.exists():
                raise StateError(
                    f"{stored.bucket}/{stored.key}: its body is missing from the state folder; it "
                    f"was {body}. Restore the folder from a copy, or choose another."
                )
            _read_body_from(entry, body)
            for name in KEPT_ATTRIBUTES:
                setattr(entry, name, about["attributes"][name])
            entry._metadata = LowercaseDict(about["metadata"])
            if about["tags"]:
                self._backend.tagger.tag_resource(
                    entry.arn, [{"Key": k, "Value": v} for k, v in about["tags"].items()]
                )
        entry.last_modified = datetime.fromisoformat(about["last_modified"])
        entry.recorded_id = stored.id
        return entry

    def _key(self, stored: StoredVersion) -> FakeKey:
        return FakeKey(
            stored.key, b"", ACCOUNT, region_name=self._region, bucket_name=stored.bucket
        )


def _move_body(key: FakeKey, path: Path) -> None:
    assert key.etag  # computed from the buffer on first use
    with key.lock:  # someone may be reading it: the version is visible already
        with path.open("wb") as body:
            key._value_buffer.seek(0)
            shutil.copyfileobj(key._value_buffer, body, 1024 * 1024)
        _read_body_from(key, path)


def _read_body_from(key: FakeKey, path: Path) -> None:
    key._value_buffer.close()
    key._value_buffer = BodyFile(path)  # type: ignore[assignment]
    key.disposed = True  # nothing is left that moto would have to release
