"""Every way in, and what is said when the bytes are not those of the way that the settings say."""

from pathlib import Path

import pytest

from tests.training.builders import Job, as_grouped_stream, as_record_file, as_stream, make_samples
from training.algorithm.channels import Way
from training.algorithm.failure import (
    BadSampleError,
    ChannelConfigError,
    JobFailedError,
    NotRecordIOError,
    TruncatedRecordError,
    UnpairedRecordError,
)
from training.algorithm.pipe import Patience
from training.algorithm.records import write_record
from training.algorithm.sources import Sample, Source

SAMPLES = make_samples(4)
IMAGE = SAMPLES[0][0]
RECORDS = as_record_file(SAMPLES)


def read(job: Job, way: Way, *, groups: bool = False) -> list[Sample]:
    source = Source(job.layout, "train", way, group_records=groups)
    return list(source.samples(0, Patience(20), None))


def put(job: Job, content: bytes, name: str = "train.rec") -> Path:
    path = job.layout.channel("train") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_manifest_gives_image_and_label(job: Job) -> None:
    job.feed("train", as_stream(SAMPLES))
    found = [(sample.image, sample.label) for sample in read(job, Way.PIPE_MANIFEST)]
    assert found == [(image, label.encode()) for image, label in SAMPLES]


def test_a_third_record_is_the_group(job: Job) -> None:
    job.feed("train", as_grouped_stream([(IMAGE, "1", "patient-é"), (IMAGE, "0", "p2")]))
    found = read(job, Way.PIPE_MANIFEST, groups=True)
    assert [sample.group for sample in found] == ["patient-é", "p2"]


def test_record_files_give_the_labels_of_their_headers(job: Job) -> None:
    put(job, as_record_file(SAMPLES[:3]), "a.rec")
    put(job, as_record_file(SAMPLES[3:]), "b.rec")
    found = read(job, Way.FILE_RECORDS)
    assert [(sample.image, sample.label) for sample in found] == [
        (image, (float(label),)) for image, label in SAMPLES
    ]
    assert [sample.number for sample in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "way", "groups", "error", "said"),
    [
        # A manifest is expected.
        (IMAGE + b"1", Way.PIPE_MANIFEST, False, NotRecordIOError, "RecordWrapperType to RecordIO"),
        (RECORDS, Way.PIPE_MANIFEST, False, BadSampleError, "im2rec's header.*RecordWrapperType"),
        (write_record(RECORDS), Way.PIPE_MANIFEST, False, BadSampleError, "RecordWrapperType at N"),
        (
            write_record(IMAGE) * 3,
            *(Way.PIPE_MANIFEST, False, UnpairedRecordError),
            "AttributeNames.*group_records=1",
        ),
        # With groups.
        (as_stream(SAMPLES), Way.PIPE_MANIFEST, True, BadSampleError, "or group_records=0"),
        (as_stream(SAMPLES[:1]), Way.PIPE_MANIFEST, True, UnpairedRecordError, '"class", "group"'),
        (
            as_grouped_stream([(IMAGE, "1", "")]),
            *(Way.PIPE_MANIFEST, True, BadSampleError),
            "no group name",
        ),
        # Record files are expected.
        (IMAGE + b"1", Way.PIPE_RECORDS, False, NotRecordIOError, "AugmentedManifestFile"),
        (
            as_stream(SAMPLES),
            Way.PIPE_RECORDS,
            False,
            BadSampleError,
            'RecordWrapperType "RecordIO',
        ),
        (write_record(b"1"), Way.PIPE_RECORDS, False, BadSampleError, "none of im2rec's"),
        (RECORDS[:-2], Way.PIPE_RECORDS, False, TruncatedRecordError, "train_0"),
    ],
)
def test_what_does_not_fit_names_the_likely_wrong_setting(
    job: Job, content: bytes, way: Way, groups: bool, error: type[JobFailedError], said: str
) -> None:
    job.feed("train", content)
    with pytest.raises(error, match=said):
        read(job, way, groups=groups)


@pytest.mark.parametrize(
    ("content", "name", "error", "said"),
    [
        (RECORDS, "train.tfrecord", ChannelConfigError, r"no \.rec file"),
        (IMAGE, "train.rec", NotRecordIOError, "file 1 of 1: record 0"),
        (RECORDS[:-2], "train.rec", TruncatedRecordError, "file 1 of 1"),
        (as_stream(SAMPLES), "train.rec", BadSampleError, "bare image"),
    ],
)
def test_files_that_do_not_fit_are_named_by_number(
    job: Job, content: bytes, name: str, error: type[JobFailedError], said: str
) -> None:
    put(job, content, name)
    with pytest.raises(error, match=said):
        read(job, Way.FILE_RECORDS)


def test_a_channel_that_was_not_delivered_is_named(job: Job) -> None:
    with pytest.raises(ChannelConfigError, match="'train' has ContentType"):
        read(job, Way.FILE_RECORDS)
    with pytest.raises(ChannelConfigError, match="'train_lst' holds no"):
        read(job, Way.FILE_IMAGES)
