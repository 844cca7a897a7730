"""model.tar.gz and output.tar.gz: packed from a folder, unpacked without trust."""

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from local.sagemaker.errors import ClientJobError

# Weights hardly shrink; the fastest level costs a fifth of the default one's time.
COMPRESSION_LEVEL = 1
MAX_UNPACKED_BYTES = 30 * 1024**3
"""The volume of a batch transform instance."""


def pack(directory: Path, archive: Path) -> None:
    """Write the files and folders below `directory` to a .tar.gz, without the folder itself."""
    with tarfile.open(archive, "w:gz", compresslevel=COMPRESSION_LEVEL) as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, arcname=path.name)


def unpack(archive: Path, directory: Path, limit_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Extract a .tar.gz that anyone may have made.

    Only plain files and folders inside `directory` are created; owners, modes and times in the
    archive are ignored. Raises ClientJobError for links, devices, absolute or climbing names, more
    than `limit_bytes` of content, and what is no .tar.gz.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _extract(tar, directory, limit_bytes)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ClientJobError(f"Model data is not a readable .tar.gz: {error}") from error


def _extract(tar: tarfile.TarFile, directory: Path, limit_bytes: int) -> None:
    total_bytes = 0
    for member in tar:
        target = directory / _safe_name(member)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        total_bytes += member.size
        if total_bytes > limit_bytes:
            raise ClientJobError(f"Model data is larger than {limit_bytes} bytes when unpacked")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None, "a plain file has content"
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file)


def _safe_name(member: tarfile.TarInfo) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise ClientJobError(f"Model data holds {member.name!r}, which is no plain file or folder")
    if name.is_absolute() or ".." in name.parts:
        raise ClientJobError(f"Model data holds {member.name!r}, which lies outside its folder")
    return name
