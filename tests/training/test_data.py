import os
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.builders import (
    Job,
    as_grouped_stream,
    as_record_file,
    as_stream,
    make_samples,
)
from training.algorithm.channels import ChannelInput, Way
from training.algorithm.data import SHUFFLE_LIMITS, Batch, Channel, Feed
from training.algorithm.failure import BadSampleError, StoppedError, TruncatedRecordError
from training.algorithm.images import decode_image
from training.algorithm.pipe import Patience

SHAPE = (3, 32, 32)


def channel(
    job: Job,
    *,
    seed: int = 0,
    stop: threading.Event | None = None,
    given: ChannelInput | None = None,
    **of_feed: Any,
) -> Channel:
    patience = Patience(20, (stop,) if stop else ())
    feed = Feed(job.layout, patience, SHAPE, 2, 4, seed, decoders=2, **of_feed)
    return Channel("train", feed, given)


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


def test_the_first_batch_does_not_wait_for_the_shuffle_buffer(job: Job) -> None:
    """The feeder falls silent after the few records that a first batch of 4 needs."""
    hold = threading.Event()
    enough = SHUFFLE_LIMITS.first + SHUFFLE_LIMITS.growth * 60
    path = job.layout.fifo("train", 0)
    os.mkfifo(path)

    def write() -> None:
        with suppress(BrokenPipeError), path.open("wb") as fifo:
            fifo.write(as_stream(make_samples(2) * (enough // 2)))
            fifo.flush()
            hold.wait(20)

    threading.Thread(target=write, daemon=True).start()
    with channel(job).batches(shuffled=True) as batches:
        assert len(next(batches).labels) == 4
    hold.set()
    assert enough < SHUFFLE_LIMITS.records / 10


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
        ([(make_samples(1)[0][0], "[0, 1]")], "multi_label=1"),
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


def test_several_classes_come_as_ones_and_zeros(job: Job) -> None:
    (image, _), (other, _) = make_samples(2)
    job.feed("train", as_stream([(image, "[1, 0]"), (other, "[1, 1]")]))
    (batch,) = read_pass(channel(job, multi_label=True))
    assert batch.labels.dtype is torch.float32
    assert batch.labels.tolist() == [[1, 0], [1, 1]]


def test_class_indices_of_one_class_are_whole_numbers(job: Job) -> None:
    job.feed("train", as_stream(make_samples(2)))
    (batch,) = read_pass(channel(job))
    assert batch.labels.dtype is torch.int64
    assert batch.groups is None


def test_groups_stay_with_their_samples_through_the_shuffle(job: Job) -> None:
    samples = make_samples(10)
    job.feed("train", as_grouped_stream([(*s, f"p{n}") for n, s in enumerate(samples)]))
    batches = read_pass(channel(job, group_records=True), shuffled=True)
    groups = [group for batch in batches for group in batch.groups or ()]
    assert sorted(groups) == [f"p{n}" for n in range(10)]
    assert groups != sorted(groups)
    for pixels, group in zip(images_of(batches), groups, strict=True):
        encoded = samples[int(group[1:])][0]
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), decode_image(encoded, SHAPE))


@pytest.mark.parametrize("way", [Way.PIPE_RECORDS, Way.FILE_RECORDS])
def test_records_of_im2rec_give_the_same_batches_as_a_manifest(job: Job, way: Way) -> None:
    samples = make_samples(6)
    job.feed("train", as_stream(samples))
    wanted = read_pass(channel(job))
    job.layout.fifo("train", 0).unlink()
    if way is Way.PIPE_RECORDS:
        job.fed.clear()
        job.feed("train", as_record_file(samples))
    else:
        folder = job.layout.channel("train")
        folder.mkdir()
        (folder / "a.rec").write_bytes(as_record_file(samples[:5]))
        (folder / "b.rec").write_bytes(as_record_file(samples[5:]))
    found = read_pass(channel(job, given=ChannelInput(way)))
    assert torch.equal(images_of(found), images_of(wanted))
    assert labels_of(found) == labels_of(wanted)


def test_listed_images_are_shuffled_as_a_whole(job: Job) -> None:
    samples = make_samples(40)
    list_images(job, [(label, image) for image, label in samples])
    source = channel(job, given=ChannelInput(Way.FILE_IMAGES))
    assert labels_of(read_pass(source)) == [int(label) for _, label in samples]
    shuffled = images_of(read_pass(source, shuffled=True)).flatten(1).tolist()
    wanted = [
        decode_image(image, SHAPE).transpose(2, 0, 1).ravel().tolist() for image, _ in samples
    ]
    assert shuffled != wanted
    assert sorted(shuffled) == sorted(wanted)


def test_a_listed_image_that_is_not_there_is_named_by_number_not_by_name(job: Job) -> None:
    list_images(job, [("0", make_samples(1)[0][0])], "1\t1\tdoe-jane.png\n")
    with pytest.raises(BadSampleError, match=r"image 1 .*No such file") as caught:
        read_pass(channel(job, given=ChannelInput(Way.FILE_IMAGES)))
    assert "doe" not in str(caught.value)


def list_images(job: Job, samples: list[tuple[str, bytes]], more_lines: str = "") -> None:
    folder, lists = job.layout.channel("train"), job.layout.channel("train_lst")
    folder.mkdir()
    lists.mkdir()
    lines = ""
    for number, (label, image) in enumerate(samples):
        (folder / f"{number}.png").write_bytes(image)
        lines += f"{number}\t{label}\t{number}.png\n"
    (lists / "train.lst").write_text(lines + more_lines)


BROKEN = (b"no picture", "1")


def test_undecodable_records_are_left_out_up_to_a_share(job: Job, warnings: list[str]) -> None:
    samples = [*make_samples(9), BROKEN, *make_samples(2)]
    job.feed("train", as_stream(samples))
    batches = read_pass(channel(job, bad_record_share=0.1))
    assert [len(batch.labels) for batch in batches] == [4, 4, 3]
    assert warnings == [
        "train_0: image 9 cannot be used: neither a PNG nor a JPEG; it is left out",
        "train_0: 1 of 12 records hold no usable image and were left out",
    ]


def test_too_many_undecodable_records_end_the_job(job: Job, warnings: list[str]) -> None:
    job.feed("train", as_stream([*make_samples(20), *[BROKEN] * 15]))
    said = r"15 of 35 .*more than bad_record_share=0\.4 allows; image 20 .*\. The image comes first"
    with pytest.raises(BadSampleError, match=said):
        read_pass(channel(job, bad_record_share=0.4))
    assert len(warnings) == 10


def test_a_pass_with_no_usable_image_fails_whatever_the_share(job: Job) -> None:
    job.feed("train", as_stream([BROKEN] * 3))
    with pytest.raises(BadSampleError, match="3 of 3"):
        read_pass(channel(job, bad_record_share=1.0))


def test_a_wrong_label_is_never_left_out(job: Job) -> None:
    job.feed("train", as_stream([*make_samples(3), (make_samples(1)[0][0], "covid")]))
    with pytest.raises(BadSampleError, match="'covid'"):
        read_pass(channel(job, bad_record_share=1.0))


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_sorted_train_channel_is_said_once(job: Job, warnings: list[str], name: str) -> None:
    by_class = as_stream(sorted(make_samples(40), key=lambda sample: sample[1]))
    job.feed(name, by_class, by_class)
    source = Channel(name, Feed(job.layout, Patience(20), SHAPE, 2, 4, 0, decoders=2))
    for _ in range(2):
        read_pass(source, shuffled=True)
    assert len(warnings) == (1 if name == "train" else 0)
    assert all(
        "train_0 is sorted by class" in line and "ShuffleConfig" in line for line in warnings
    )
