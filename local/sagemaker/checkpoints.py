"""/opt/ml/checkpoints ↔ CheckpointConfig.S3Uri: restored at first, kept in step while running."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.sagemaker.objects import Address, ObjectStore

Stamp = tuple[int, int]
"""Size and time of modification: a file with the same stamp has not changed."""


@dataclass(frozen=True)
class SyncPlan:
    """What has to happen so that S3 holds what the folder holds."""

    uploads: tuple[str, ...]
    deletions: tuple[str, ...]


def plan_sync(local: Mapping[str, Stamp], synced: Mapping[str, Stamp]) -> SyncPlan:
    """Compare the folder with what was last brought to S3; a file removed here is removed there."""
    return SyncPlan(
        uploads=tuple(sorted(name for name in local if local[name] != synced.get(name))),
        deletions=tuple(sorted(synced.keys() - local.keys())),
    )


class CheckpointSync:
    """One job's checkpoints. Not thread-safe: one caller."""

    def __init__(self, folder: Path, target: Address, objects: ObjectStore) -> None:
        self._folder = folder
        self._target = Address(target.bucket, target.key.rstrip("/"))
        self._objects = objects
        self._synced: dict[str, Stamp] = {}

    def restore(self) -> None:
        """Fetch what an earlier job left, unless this job's own checkpoints are still here."""
        if any(self._folder.iterdir()):
            return
        for address in self._objects.list(Address(self._target.bucket, f"{self._target.key}/")):
            name = address.key.removeprefix(f"{self._target.key}/")
            if ".." not in name.split("/"):
                self._objects.download(address, self._folder / name)
        self._synced = _stamps(self._folder)

    def sync(self) -> None:
        """Bring S3 up to date. Raises ClientJobError or InternalJobError."""
        local = _stamps(self._folder)
        plan = plan_sync(local, self._synced)
        for name in plan.uploads:
            self._objects.upload(self._folder / name, self._address(name))
        for name in plan.deletions:
            self._objects.delete(self._address(name))
        self._synced = local

    def _address(self, name: str) -> Address:
        return Address(self._target.bucket, f"{self._target.key}/{name}")


def _stamps(folder: Path) -> dict[str, Stamp]:
    stamps = {}
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            stamps[path.relative_to(folder).as_posix()] = (state.st_size, state.st_mtime_ns)
    return stamps
