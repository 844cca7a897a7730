from typing import Any

import pytest

from tests.training.builders import FILE_CHANNEL, PIPE_CHANNEL, Job
from training.algorithm.channels import ChannelInput, Way, check_channels
from training.algorithm.failure import ChannelConfigError
from training.algorithm.labels import LabelFormat

IMAGE_CHANNEL = {**FILE_CHANNEL, "ContentType": "application/x-image"}
RECORDS_IN_PIPE = {**PIPE_CHANNEL, "RecordWrapperType": "None"}
MODEL_CHANNEL = {**FILE_CHANNEL, "ContentType": "application/x-sagemaker-model"}


def check(job: Job, *, group_records: bool = False, **channels: Any) -> ChannelInput:
    """How ``train`` comes in; validation is a good channel unless given."""
    job.configure({}, **{"validation": PIPE_CHANNEL, **channels})
    return check_channels(job.layout, group_records=group_records).train


@pytest.mark.parametrize(
    ("channel", "way"),
    [
        (PIPE_CHANNEL, Way.PIPE_MANIFEST),
        ({**PIPE_CHANNEL, "ContentType": "image/png"}, Way.PIPE_MANIFEST),
        ({**PIPE_CHANNEL, "ContentType": None}, Way.PIPE_MANIFEST),
        (RECORDS_IN_PIPE, Way.PIPE_RECORDS),
        (FILE_CHANNEL, Way.FILE_RECORDS),
        ({**FILE_CHANNEL, "TrainingInputMode": "FastFile"}, Way.FILE_RECORDS),
        (IMAGE_CHANNEL, Way.FILE_IMAGES),
        ({**IMAGE_CHANNEL, "ContentType": "image/jpeg"}, Way.FILE_IMAGES),
    ],
)
def test_the_settings_decide_the_way_in(job: Job, channel: dict[str, Any], way: Way) -> None:
    assert check(job, train=channel, train_lst=IMAGE_CHANNEL).way is way


@pytest.mark.parametrize(
    ("content_type", "label_format"),
    [
        ("application/x-recordio", LabelFormat.MULTI_HOT),
        ("application/x-recordio; label-format=multi-hot", LabelFormat.MULTI_HOT),
        ("application/x-recordio;label-format=class-id", LabelFormat.CLASS_ID),
        ('application/x-recordio; Label-Format="class-id"', LabelFormat.CLASS_ID),
        ("application/x-recordio; charset=utf-8", LabelFormat.MULTI_HOT),
    ],
)
def test_the_content_type_carries_the_label_format(
    job: Job, content_type: str, label_format: LabelFormat
) -> None:
    given = check(job, train={**PIPE_CHANNEL, "ContentType": content_type})
    assert given == ChannelInput(Way.PIPE_MANIFEST, label_format)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RecordWrapperType": "None", "ContentType": "image/png"}, "RecordWrapperType 'None'"),
        ({"RecordWrapperType": "None", "ContentType": None}, "RecordWrapperType 'None'"),
        ({"RecordWrapperType": "Gzip"}, "RecordWrapperType 'Gzip'"),
        ({"ContentType": "text/csv"}, "ContentType 'text/csv'"),
        ({"ContentType": "application/x-recordio; label-format=one"}, "multi-hot or class-id"),
        ({"TrainingInputMode": "Fifo"}, "TrainingInputMode 'Fifo'"),
        ({"TrainingInputMode": "File", "ContentType": None}, "ContentType None"),
        ({"TrainingInputMode": "File", "ContentType": "text/csv"}, "ContentType 'text/csv'"),
        ({"TrainingInputMode": "File", "ContentType": "image/png"}, "no channel named 'train_lst'"),
        ({"S3DistributionType": "ShardedByS3Key"}, "use 'FullyReplicated'"),
    ],
)
def test_a_setting_that_no_way_has_is_named(job: Job, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ChannelConfigError, match=said):
        check(job, train={**PIPE_CHANNEL, **changed})


def test_a_list_cannot_come_through_a_pipe(job: Job) -> None:
    with pytest.raises(ChannelConfigError, match="'train_lst' has TrainingInputMode 'Pipe'"):
        check(job, train=IMAGE_CHANNEL, train_lst=PIPE_CHANNEL)


@pytest.mark.parametrize("channel", [RECORDS_IN_PIPE, FILE_CHANNEL])
def test_groups_come_with_manifests_only(job: Job, channel: dict[str, Any]) -> None:
    assert check(job, train=PIPE_CHANNEL, group_records=True).way is Way.PIPE_MANIFEST
    with pytest.raises(ChannelConfigError, match="set group_records=0"):
        check(job, train=channel, group_records=True)


def test_a_model_channel_is_seen(job: Job) -> None:
    job.configure({}, train=PIPE_CHANNEL, validation=PIPE_CHANNEL, model=MODEL_CHANNEL)
    assert check_channels(job.layout).has_model
    job.configure({}, train=PIPE_CHANNEL, validation=PIPE_CHANNEL)
    assert not check_channels(job.layout).has_model


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"TrainingInputMode": "Pipe"}, "'model' must have TrainingInputMode 'File'"),
        ({"ContentType": "application/x-recordio"}, "use application/x-sagemaker-model"),
        ({"ContentType": None}, "ContentType None"),
    ],
)
def test_a_model_channel_that_is_set_up_otherwise_is_refused(
    job: Job, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ChannelConfigError, match=said):
        check(job, train=PIPE_CHANNEL, model={**MODEL_CHANNEL, **changed})


def test_all_faults_of_the_channels_are_named_at_once(job: Job) -> None:
    job.configure({}, train={**PIPE_CHANNEL, "TrainingInputMode": "Fifo"})
    with pytest.raises(ChannelConfigError) as caught:
        check_channels(job.layout)
    assert "'train' has TrainingInputMode 'Fifo'" in str(caught.value)
    assert "no channel named 'validation'" in str(caught.value)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_configuration_that_is_absent_or_no_object_is_refused(
    job: Job, content: str | None
) -> None:
    path = job.layout.input_data_config
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ChannelConfigError, match=r"inputdataconfig\.json"):
        check_channels(job.layout)
