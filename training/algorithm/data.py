"""From a channel to batches: a reader thread, decoding threads, and bounded queues between.

What waits at any moment is bounded by constants here and in :mod:`shuffle`, whatever the size of
the data set. Nothing in the threads uses torch operations, whose own threads belong to the network.
"""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.algorithm.channels import TRAIN, ChannelInput
from training.algorithm.class_order import watch_order
from training.algorithm.combinations import CT
from training.algorithm.failure import BadSampleError
from training.algorithm.images import Pixels, UndecodableImageError, stack_images
from training.algorithm.labels import BadLabelError, Label, LabelReader
from training.algorithm.paths import Layout
from training.algorithm.pipe import Patience
from training.algorithm.prefetch import map_in_order, read_ahead
from training.algorithm.preparation import Preparation
from training.algorithm.rejects import Rejects
from training.algorithm.shuffle import ShuffleLimits, shuffle
from training.algorithm.sources import Sample, Source

SHUFFLE_LIMITS = ShuffleLimits()
BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """Images (N, C, H, W) as uint8, channels last in memory, and what is known of each.

    ``labels`` are class indices, int64 (N), or with ``multi_label`` 0 and 1 for each class, float32
    (N, num_classes). ``groups`` are there with ``group_records``.
    """

    images: torch.Tensor
    labels: torch.Tensor
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """What all channels of a job have in common; for ``resize`` see :class:`Preparation`."""

    layout: Layout
    patience: Patience
    image_shape: tuple[int, int, int]
    num_classes: int
    batch_size: int
    seed: int
    decoders: int
    resize: int | None = None
    augmentation: str | None = CT
    multi_label: bool = False
    group_records: bool = False
    bad_record_share: float = 0.0


class Channel:
    """One channel of the job; each pass over it opens the next FIFO, or the files again.

    ``passes`` counts those of the job, from which order and variation of a pass are drawn. A job
    that goes on after an interruption sets it; the FIFOs begin at 0 again.
    """

    def __init__(self, name: str, feed: Feed, given: ChannelInput | None = None) -> None:
        self.name = name
        self.passes = 0
        self._feed = feed
        given = given or ChannelInput()
        self._source = Source(feed.layout, name, given.way, feed.group_records)
        self._labels = LabelReader(feed.num_classes, feed.multi_label, given.label_format)
        self._opened = 0

    @contextmanager
    def batches(
        self, *, shuffled: bool = False, varied: bool = False, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Iterator[Batch]]:
        """Open the next pass; leaving the context ends its threads and closes its FIFO.

        Of all samples, mixed or not, only every ``share[1]``-th from ``share[0]`` on is decoded.

        :raises JobFailedError: from the iterator, whatever :mod:`sources` or decoding meets; an
            empty pass is an error as well.
        """
        number, self.passes = self.passes, self.passes + 1
        feed = self._feed
        opened, self._opened = self._opened, self._opened + 1
        where = self._source.where(opened)
        rejects = Rejects(where, feed.bad_record_share, self._source.advice)
        decode = _Decoder(where, feed, self._source, self._labels, rejects, number, varied)
        abandoned = threading.Event()
        random = np.random.default_rng([feed.seed, number]) if shuffled else None
        samples = self._source.samples(opened, feed.patience.or_until(abandoned), random)
        with closing(samples), ThreadPoolExecutor(feed.decoders, f"decode-{self.name}") as pool:
            ordered = self._in_order(samples, opened, random)
            shared = itertools.islice(ordered, share[0], None, share[1])
            decoded = map_in_order(decode, shared, pool, ahead=4 * feed.decoders)
            batches = _group(decoded, feed.batch_size, where, rejects)
            with read_ahead(batches, BATCHES_AHEAD, feed.patience, abandoned) as ready:
                yield ready

    def _in_order(
        self, samples: Iterator[Sample], opened: int, random: np.random.Generator | None
    ) -> Iterator[Sample]:
        """Watch the order of a stream in its first pass, and mix it when a generator is given."""
        if not self._source.streams:
            return samples
        if self.name == TRAIN and opened == 0:
            samples = watch_order(samples, self._source.where(opened))
        return samples if random is None else shuffle(samples, random, SHUFFLE_LIMITS)


@dataclass(frozen=True, slots=True)
class _Decoded:
    pixels: Pixels
    label: Label
    group: str | None


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Turns a sample into pixels and label, or None if it is left out; called from threads."""

    where: str
    feed: Feed
    source: Source
    labels: LabelReader
    rejects: Rejects
    pass_number: int
    varied: bool

    def __call__(self, sample: Sample) -> _Decoded | None:
        # The label first: a wrong one means wrong settings, and no share of those is allowed.
        label = self._read_label(sample)
        # Seeded by the sample, not by the order in which threads get to it.
        seed = (self.feed.seed, self.pass_number, sample.number)
        draw = np.random.default_rng(seed) if self.varied else None
        prepare = Preparation(self.feed.image_shape, self.feed.resize, self.feed.augmentation)
        try:
            pixels = prepare(_encoded(sample.image), draw)
        except UndecodableImageError as error:
            self.rejects.add(sample.number, str(error))
            return None
        return _Decoded(pixels, label, sample.group)

    def _read_label(self, sample: Sample) -> Label:
        try:
            return self.labels.read(sample.label)
        except BadLabelError as error:
            raise BadSampleError(
                f"{self.where}: sample {sample.number} has {error}. {self.source.advice}"
            ) from error


def as_rows(images: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return a batch's images as they were decoded, (N, H, W, C)."""
    rows: npt.NDArray[np.uint8] = images.permute(0, 2, 3, 1).numpy()
    return rows


def _encoded(image: bytes | Path) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        return image.read_bytes()
    except OSError as error:
        # The reason without the path, which may hold a name.
        raise UndecodableImageError(f"its file cannot be read ({error.strerror})") from error


def _group(
    samples: Iterator[_Decoded | None], size: int, where: str, rejects: Rejects
) -> Iterator[Batch]:
    waiting: list[_Decoded] = []
    total = 0
    for total, sample in enumerate(samples, start=1):  # noqa: B007  # the count is the point
        if sample is not None:
            waiting.append(sample)
        if len(waiting) == size:
            yield _batch(waiting)
            waiting = []
    if not total:
        raise BadSampleError(
            f"{where} delivered no sample: is the channel's manifest, list or file empty?"
        )
    rejects.conclude(total)
    if waiting:
        yield _batch(waiting)


def _batch(samples: list[_Decoded]) -> Batch:
    groups = tuple(sample.group for sample in samples if sample.group is not None)
    return Batch(
        stack_images([sample.pixels for sample in samples]),
        torch.from_numpy(np.array([sample.label for sample in samples])),
        groups or None,
    )
