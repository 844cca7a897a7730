import threading
import time

import numpy as np
import pytest
import torch

from tests.training.builders import Job, as_stream, make_samples
from training.algorithm.data import SHUFFLE_RECORDS, Batch, Channel, Feed
from training.algorithm.failure import BadSampleError, StoppedError, TruncatedRecordError
from training.algorithm.images import decode_image
from training.algorithm.pipe import Patience

SHAPE = (3, 32, 32)


def channel(job: Job, *, seed: int = 0, stop: threading.Event | None = None) -> Channel:
    patience = Patience(20, (stop,) if stop else ())
    return Channel("train", Feed(job.layout, patience, SHAPE, 2, 4, seed, decoders=2))


def read_pass(source: Channel, *, shuffled: bool = False, varied: bool = False) -> list[Batch]:
    with source.batches(shuffled=shuffled, varied=varied) as batches:
        return list(batches)


def images_of(batches: list[Batch]) -> torch.Tensor:
    return torch.cat([batch.images for batch in batches])


def labels_of(batches: list[Batch]) -> list[int]:
    labels: list[int] = torch.cat([batch.labels for batch in batches]).tolist()
    return labels


def test_samples_come_in_order_and_the_last_batch_may_be_short(job: Job) -> None:
    samples = make_samples(10)
    job.feed("train", as_stream(samples))
    batches = read_pass(channel(job))
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    assert labels_of(batches) == [int(label) for _, label in samples]
    for pixels, (encoded, _) in zip(images_of(batches), samples, strict=True):
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), decode_image(encoded, SHAPE))


def test_images_lie_in_memory_as_the_network_wants_them(job: Job) -> None:
    job.feed("train", as_stream(make_samples(4)))
    (batch,) = read_pass(channel(job))
    assert batch.images.dtype is torch.uint8
    assert batch.images.shape == (4, 3, 32, 32)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_each_pass_opens_the_next_fifo(job: Job) -> None:
    job.feed("train", as_stream(make_samples(2)), as_stream(make_samples(3, first_seed=50)))
    source = channel(job)
    assert [len(images_of(read_pass(source))) for _ in range(2)] == [2, 3]


def test_shuffling_gives_every_sample_once_in_an_order_of_the_seed(job: Job) -> None:
    content = as_stream(make_samples(12))
    job.feed("train", content, content)
    plain_and_shuffled = channel(job, seed=7)
    plain = images_of(read_pass(plain_and_shuffled)).flatten(1)
    shuffled = images_of(read_pass(plain_and_shuffled, shuffled=True)).flatten(1)
    assert not torch.equal(plain, shuffled)
    as_rows = [sorted(map(tuple, images.tolist())) for images in (plain, shuffled)]
    assert as_rows[0] == as_rows[1]


@pytest.mark.parametrize("same", [True, False])
def test_a_seed_replays_order_and_augmentation(job: Job, *, same: bool) -> None:
    content = as_stream(make_samples(8))
    runs = []
    for seed in (1, 1 if same else 2):
        for old in job.layout.fifo("train", 0).parent.glob("train_*"):
            old.unlink()
        job.fed.clear()
        job.feed("train", content)
        runs.append(images_of(read_pass(channel(job, seed=seed), shuffled=True, varied=True)))
    assert torch.equal(*runs) is same


def test_memory_is_bounded_by_the_shuffle_buffer(job: Job) -> None:
    """More records than the buffer holds still come out once each."""
    sample = make_samples(1)
    job.feed("train", as_stream(sample * (SHUFFLE_RECORDS + 300)))
    assert len(labels_of(read_pass(channel(job), shuffled=True))) == SHUFFLE_RECORDS + 300


def test_leaving_early_frees_the_feeder_and_ends_the_threads(job: Job) -> None:
    content = as_stream(make_samples(200))
    job.feed("train", content, content)
    source = channel(job)
    before = threading.active_count()
    with source.batches() as batches:
        next(batches)
    assert threading.active_count() == before
    with source.batches() as batches:
        next(batches)


def test_leaving_while_the_feeder_is_silent_does_not_wait_for_it(job: Job) -> None:
    source = channel(job)
    started = time.monotonic()
    with source.batches():
        pass
    assert time.monotonic() - started < 5


def test_a_stop_ends_a_wait_for_data(job: Job) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(StoppedError):
        read_pass(channel(job, stop=stop))


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([], "delivered no sample"),
        ([(make_samples(1)[0][0], "2")], "class index from 0 to 1"),
        ([(make_samples(1)[0][0], "-1")], "class index from 0 to 1"),
        ([(make_samples(1)[0][0], "covid")], "'covid'"),
        ([*make_samples(3), (b"no picture", "1")], "image 3 cannot be used: neither a PNG"),
        ([(b"1", "\x7fPNG and so on")], "image comes first in AttributeNames"),
    ],
)
def test_samples_that_cannot_be_used_are_named(
    job: Job, samples: list[tuple[bytes, str]], said: str
) -> None:
    job.feed("train", as_stream(samples))
    with pytest.raises(BadSampleError, match=said):
        read_pass(channel(job))


def test_an_error_of_the_pipe_reaches_the_consumer_after_what_came_before(job: Job) -> None:
    job.feed("train", as_stream(make_samples(9))[:-3])
    seen: list[int] = []
    with channel(job).batches() as batches, pytest.raises(TruncatedRecordError):
        seen.extend(len(batch.labels) for batch in batches)
    assert seen in ([], [4], [4, 4])
