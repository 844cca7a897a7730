"""From a channel to batches: a reader thread, decoding threads, and bounded queues between.

What waits at any moment is bounded by constants here, whatever the size of the data set. Nothing
in the threads uses torch operations, whose own threads belong to the network.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from training.algorithm.combinations import CT
from training.algorithm.failure import BadSampleError
from training.algorithm.images import Pixels, UndecodableImageError, stack_images
from training.algorithm.paths import Layout
from training.algorithm.pipe import Patience, read_pairs
from training.algorithm.prefetch import map_in_order, read_ahead
from training.algorithm.preparation import Preparation

SHUFFLE_RECORDS = 2048
SHUFFLE_BYTES = 96 * 1024 * 1024
BATCHES_AHEAD = 3

Record: TypeAlias = tuple[int, bytes, bytes]
"""Number of the sample in its pass, encoded image, label text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images (N, C, H, W) as uint8, channels last in memory, and their class indices (N)."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class Feed:
    """What all channels of a job have in common; for the last two see :class:`Preparation`."""

    layout: Layout
    patience: Patience
    image_shape: tuple[int, int, int]
    num_classes: int
    batch_size: int
    seed: int
    decoders: int
    resize: int | None = None
    augmentation: str | None = CT


class Channel:
    """One channel of the job; each pass over it opens the next FIFO.

    ``passes`` counts those of the job, from which order and variation of a pass are drawn. A job
    that goes on after an interruption sets it; the FIFOs begin at 0 again.
    """

    def __init__(self, name: str, feed: Feed) -> None:
        self.name = name
        self.passes = 0
        self._feed = feed
        self._opened = 0

    @contextmanager
    def batches(self, *, shuffled: bool = False, varied: bool = False) -> Iterator[Iterator[Batch]]:
        """Open the next pass; leaving the context ends its threads and closes its FIFO.

        :raises JobFailedError: from the iterator, whatever :mod:`pipe` or decoding meets; an
            empty pass is an error as well.
        """
        number, self.passes = self.passes, self.passes + 1
        feed = self._feed
        path = feed.layout.fifo(self.name, self._opened)
        self._opened += 1
        decode = _Decoder(path.name, feed, number, varied)
        abandoned = threading.Event()
        pairs = read_pairs(path, feed.patience.or_until(abandoned))
        with closing(pairs), ThreadPoolExecutor(feed.decoders, f"decode-{self.name}") as pool:
            records = _numbered(pairs)
            if shuffled:
                records = _shuffle(records, np.random.default_rng([feed.seed, number]))
            samples = map_in_order(decode, records, pool, ahead=4 * feed.decoders)
            batches = _group(samples, feed.batch_size, path.name)
            with read_ahead(batches, BATCHES_AHEAD, feed.patience, abandoned) as ready:
                yield ready


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Turns a record into pixels and a class index; called from several threads."""

    fifo: str
    feed: Feed
    pass_number: int
    varied: bool

    def __call__(self, record: Record) -> tuple[Pixels, int]:
        number, encoded, label = record
        index = self._class_index(number, label)
        # Seeded by the sample, not by the order in which threads get to it.
        seed = (self.feed.seed, self.pass_number, number)
        draw = np.random.default_rng(seed) if self.varied else None
        prepare = Preparation(self.feed.image_shape, self.feed.resize, self.feed.augmentation)
        try:
            pixels = prepare(encoded, draw)
        except UndecodableImageError as error:
            raise BadSampleError(
                f"{self.fifo}: image {number} cannot be used: {error}. The image comes first in "
                'AttributeNames, the label second: ["source-ref", "class"]'
            ) from error
        return pixels, index

    def _class_index(self, number: int, label: bytes) -> int:
        try:
            index = int(label)
        except ValueError:
            index = -1
        if not 0 <= index < self.feed.num_classes:
            shown = label[:20].decode("ascii", "backslashreplace")
            raise BadSampleError(
                f"{self.fifo}: sample {number} has the label {shown!r}; a class index from 0 to "
                f"{self.feed.num_classes - 1} is needed. The image comes first in AttributeNames, "
                'the label second: ["source-ref", "class"]'
            )
        return index


def _numbered(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[Record]:
    for number, (image, label) in enumerate(pairs):
        yield number, image, label


def _shuffle(records: Iterator[Record], random: np.random.Generator) -> Iterator[Record]:
    """Yield every record once, from a buffer bounded in number and bytes."""
    buffer: list[Record] = []
    size_bytes = 0
    for record in records:
        buffer.append(record)
        size_bytes += len(record[1])
        while len(buffer) > SHUFFLE_RECORDS or size_bytes > SHUFFLE_BYTES:
            taken = _take_any(buffer, random)
            size_bytes -= len(taken[1])
            yield taken
    while buffer:
        yield _take_any(buffer, random)


def _take_any(buffer: list[Record], random: np.random.Generator) -> Record:
    chosen = int(random.integers(len(buffer)))
    buffer[chosen], buffer[-1] = buffer[-1], buffer[chosen]
    return buffer.pop()


def _group(samples: Iterator[tuple[Pixels, int]], size: int, fifo: str) -> Iterator[Batch]:
    images: list[Pixels] = []
    labels: list[int] = []
    empty = True
    for pixels, label in samples:
        empty = False
        images.append(pixels)
        labels.append(label)
        if len(images) == size:
            yield Batch(stack_images(images), torch.tensor(labels))
            images, labels = [], []
    if images:
        yield Batch(stack_images(images), torch.tensor(labels))
    if empty:
        raise BadSampleError(f"{fifo} delivered no sample: is the channel's manifest empty?")
