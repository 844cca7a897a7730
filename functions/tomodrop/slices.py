"""The index line: one normalised slice, and everything later steps must know of its upload.

A slice that no index part names does not exist. Parts are JSON Lines, one object per slice.
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tomodrop.errors import EventError
from tomodrop.pixels import Pixels


class Source(BaseModel):
    """One version of one upload. `last_modified` is S3's, ISO 8601 in UTC."""

    model_config = ConfigDict(frozen=True)

    bucket: str
    key: str
    version_id: str
    etag: str
    sequencer: str
    size_bytes: int
    sha256: str
    last_modified: str


class Label(BaseModel):
    """What `labelled/<class>/<group>/` says of an upload; a group is never split."""

    model_config = ConfigDict(frozen=True)

    name: str
    group: str


class IndexLine(BaseModel):
    """One slice of one upload.

    `index`: its place in the upload, from 0; `count`: how many slices the upload gave.
    `lung_window_hu`: level and width that Hounsfield units are seen through. Lines of earlier
    versions lack what has a default here.
    """

    model_config = ConfigDict(frozen=True)

    slice_id: str
    source: Source
    index: int = 0
    count: int = 1
    position_mm: float | None = None
    has_lung: bool = True
    lung_window_hu: tuple[float, float] = (-600.0, 1500.0)
    label: Label | None = None
    normaliser: str
    processing: dict[str, Any]
    warnings: tuple[str, ...] = ()
    pixels: Pixels | None = None


def write_lines(lines: Iterable[IndexLine]) -> bytes:
    """Index lines as JSON Lines in UTF-8."""
    return "".join(f"{line.model_dump_json()}\n" for line in lines).encode()


def read_lines(body: bytes) -> Iterator[IndexLine]:
    """Index lines of a part.

    Raises
    ------
    EventError
        A line was not written by this version: names the fault, not the line.
    """
    # Read as they are asked for: a part may have a hundred thousand.
    for number, text in enumerate(BytesIO(body), start=1):
        try:
            yield IndexLine.model_validate_json(text)
        except ValidationError as error:
            message = f"line {number} of an index part is not readable: {error.errors()[0]['msg']}"
            raise EventError(message) from None


def by_upload(lines: Iterable[IndexLine]) -> dict[str, list[IndexLine]]:
    """Slices of each upload version in order, each slice once: as its last line says."""
    grouped: dict[str, dict[str, IndexLine]] = {}
    for line in lines:
        grouped.setdefault(_upload_of(line), {})[line.slice_id] = line
    return {
        upload: sorted(found.values(), key=lambda line: line.index)
        for upload, found in sorted(grouped.items())
    }


def chunks_of_uploads(
    lines: Iterable[IndexLine], most_slices: int
) -> Iterator[dict[str, list[IndexLine]]]:
    """`by_upload` piece by piece, for lines in which the slices of an upload stand together.

    A piece has at most `most_slices` slices, or one upload that has more.
    """
    chunk: list[IndexLine] = []
    for _, of_upload in groupby(lines, _upload_of):
        slices = list(of_upload)
        if chunk and len(chunk) + len(slices) > most_slices:
            yield by_upload(chunk)
            chunk = []
        chunk += slices
    if chunk:
        yield by_upload(chunk)


def _upload_of(line: IndexLine) -> str:
    return line.slice_id.rpartition("-")[0]


def is_newer(candidate: Source, other: Source) -> bool:
    """Whether `candidate` was put after `other`, both versions of the same key.

    S3 sequencers are compared as text after padding the shorter on the right with zeros (S3 User
    Guide, "Event message structure"). Where one lacks, the modification time decides. It has whole
    seconds: within one, the version without a sequencer is the newer, for it comes from a sweep,
    which found it to be the current one long after. Of two versions at most one is newer.
    """
    if candidate.version_id == other.version_id and has_version(candidate):
        return False
    if candidate.sequencer and other.sequencer:
        width = max(len(candidate.sequencer), len(other.sequencer))
        return candidate.sequencer.ljust(width, "0") > other.sequencer.ljust(width, "0")
    if candidate.last_modified == other.last_modified:
        return bool(other.sequencer) and not candidate.sequencer
    return candidate.last_modified > other.last_modified


def has_version(source: Source) -> bool:
    """Whether the bucket is versioned: objects from before that have the version "null"."""
    return source.version_id not in ("", "null")
