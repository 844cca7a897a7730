"""The samples of one pass over a channel, whichever way it comes in (see :mod:`channels`).

Nothing is decoded here: an image is the bytes that arrived, or the file it lies in.
"""

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.algorithm.channels import LIST_SUFFIX, Way
from training.algorithm.failure import (
    BadSampleError,
    ChannelConfigError,
    NotRecordIOError,
    TruncatedRecordError,
    UnpairedRecordError,
)
from training.algorithm.image_lists import read_image_list
from training.algorithm.image_records import (
    BadHeaderError,
    holds_image_record,
    holds_record_file,
    is_encoded_image,
    unpack_image,
)
from training.algorithm.labels import RawLabel
from training.algorithm.paths import Layout
from training.algorithm.pipe import Patience, read_pipe
from training.algorithm.records import read_records

RECORD_SUFFIX = ".rec"
_BUFFER_BYTES = 1024 * 1024
_OVERHEAD_BYTES = 256
_MAX_GROUP_BYTES = 1024
PAIR = 'AttributeNames ["source-ref", "class"]'
TRIPLE = 'AttributeNames ["source-ref", "class", "group"]'
WRAPPED = 'S3DataType "AugmentedManifestFile", RecordWrapperType "RecordIO" and InputMode "Pipe"'


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample as it arrives; ``number`` counts the pass from 0, ``image`` is encoded."""

    number: int
    image: bytes | Path
    label: RawLabel
    group: str | None = None

    @property
    def size_bytes(self) -> int:
        """Return what it keeps in memory, roughly."""
        held = len(self.image) if isinstance(self.image, bytes) else 0
        return held + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """Where a channel's samples come from; ``group_records``: a third record names the group."""

    layout: Layout
    channel: str
    way: Way
    group_records: bool = False

    @property
    def streams(self) -> bool:
        """Whether samples come in an order that only the sender can change."""
        return self.way is not Way.FILE_IMAGES

    @property
    def advice(self) -> str:
        """What to look at when a sample is not what it should be."""
        if self.way is Way.PIPE_MANIFEST:
            order = "The image comes first in AttributeNames, the label second"
            if self.group_records:
                return f"{order}, the group third: {TRIPLE}"
            return f"{order}: {PAIR}; a third, the group, needs group_records=1"
        if self.way is Way.FILE_IMAGES:
            return f"Look at the list in channel '{self.channel}{LIST_SUFFIX}'"
        return "Each record must be a PNG or JPEG behind its labels, as im2rec packs them"

    def where(self, number: int) -> str:
        """Return what to call pass ``number`` in messages."""
        if self.way in (Way.PIPE_MANIFEST, Way.PIPE_RECORDS):
            return self.layout.fifo(self.channel, number).name
        return f"channel {self.channel!r}"

    def samples(
        self, number: int, patience: Patience, order: np.random.Generator | None
    ) -> Generator[Sample, None, None]:
        """Yield the samples of pass ``number``; closing the generator ends the pass.

        ``order`` draws the order of what can be read in any order; a stream stays as it comes.

        :raises JobFailedError: for whatever the channel brings that is no sample.
        """
        if self.way is Way.FILE_IMAGES:
            return _listed_images(self, order)
        if self.way is Way.PIPE_MANIFEST:
            records = read_pipe(self.layout.fifo(self.channel, number), patience, _NOT_WRAPPED)
            return _wrapped_manifest(records, self.where(number), with_groups=self.group_records)
        if self.way is Way.PIPE_RECORDS:
            records = read_pipe(self.layout.fifo(self.channel, number), patience, _NOT_RECORDS)
        else:
            records = _file_records(self.layout.channel(self.channel), patience)
        return _image_records(records, self.where(number))


_NOT_WRAPPED = "Set the channel's RecordWrapperType to RecordIO"
_NOT_RECORDS = (
    f"If the channel is an augmented manifest, set {WRAPPED}; if not, each object under its S3Uri "
    "must be a .rec file"
)


def _wrapped_manifest(
    records: Generator[bytes, None, None], where: str, *, with_groups: bool
) -> Generator[Sample, None, None]:
    size = 3 if with_groups else 2
    try:
        for number in itertools.count():
            parts = tuple(itertools.islice(records, size))
            if number == 0 and parts:
                _check_first_image(parts[0], where)
            if len(parts) == size:
                group = _read_group(parts[2], number, where) if with_groups else None
                yield Sample(number, parts[0], parts[1], group)
            elif parts:
                raise UnpairedRecordError(_unpaired(where, with_groups=with_groups))
            else:
                return
    finally:
        records.close()


def _check_first_image(payload: bytes, where: str) -> None:
    if holds_record_file(payload):
        raise BadSampleError(
            f"{where}: the first record is itself a RecordIO file: leave RecordWrapperType at None "
            "for a channel of .rec files"
        )
    if holds_image_record(payload):
        raise BadSampleError(
            f"{where}: the first record has im2rec's header, where an augmented manifest has an "
            "image: set RecordWrapperType to None for a channel of .rec files, or let source-ref "
            "name image files"
        )


def _unpaired(where: str, *, with_groups: bool) -> str:
    if with_groups:
        return (
            f"{where} ended within a sample: with group_records=1 each is an image, a label and a "
            f"group, so set {TRIPLE}"
        )
    return (
        f"{where} ended with an odd number of records: each sample is an image and a label, so "
        f"set AttributeNames to exactly two names, such as {PAIR}; with a third, the group, set "
        "group_records=1"
    )


def _read_group(text: bytes, number: int, where: str) -> str:
    try:
        if is_encoded_image(text) or not 0 < len(text) <= _MAX_GROUP_BYTES:
            raise ValueError("no name")
        return text.decode()
    except ValueError:
        raise BadSampleError(
            f"{where}: the third record of sample {number} is no group name ({len(text)} bytes): "
            f"set {TRIPLE}, or group_records=0"
        ) from None


def _image_records(
    records: Generator[bytes, None, None], where: str
) -> Generator[Sample, None, None]:
    try:
        for number, payload in enumerate(records):
            try:
                labels, image = unpack_image(payload)
            except BadHeaderError as error:
                raise BadSampleError(
                    f"{where}: record {number} is none of im2rec's: {error}. If the channel is an "
                    f"augmented manifest, set {WRAPPED}; if not, pack its images with im2rec"
                ) from error
            yield Sample(number, image, labels)
    finally:
        records.close()


def _file_records(folder: Path, patience: Patience) -> Generator[bytes, None, None]:
    files = sorted(folder.rglob(f"*{RECORD_SUFFIX}"))
    if not files:
        raise ChannelConfigError(
            f"channel {folder.name!r} has ContentType application/x-recordio, but no "
            f"{RECORD_SUFFIX} file: let its S3Uri name one, or set ContentType to "
            "application/x-image for a channel of images"
        )
    for index, file in enumerate(files, start=1):
        where = f"channel {folder.name!r}, {RECORD_SUFFIX} file {index} of {len(files)}"
        with file.open("rb", buffering=_BUFFER_BYTES) as stream:
            try:
                for payload in read_records(stream):
                    patience.check_stop()
                    yield payload
            except NotRecordIOError as error:
                raise NotRecordIOError(f"{where}: {error}. Pack it again with im2rec") from error
            except TruncatedRecordError as error:
                raise TruncatedRecordError(f"{where}: {error}") from error


def _listed_images(
    source: Source, order: np.random.Generator | None
) -> Generator[Sample, None, None]:
    folder = source.layout.channel(source.channel)
    images = read_image_list(source.layout.channel(source.channel + LIST_SUFFIX))
    numbers = range(len(images)) if order is None else map(int, order.permutation(len(images)))
    for number in numbers:
        yield Sample(number, folder / images[number].path, images[number].labels)
