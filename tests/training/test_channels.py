import json

import pytest

from tests.training.builders import PIPE_CHANNEL, Job
from training.algorithm.channels import check_channels
from training.algorithm.failure import ChannelConfigError


def test_two_pipe_channels_are_fine(job: Job) -> None:
    job.configure({}, train=PIPE_CHANNEL, validation=PIPE_CHANNEL)
    check_channels(job.layout)


def test_all_faults_of_the_channels_are_named_at_once(job: Job) -> None:
    job.configure({}, train={**PIPE_CHANNEL, "TrainingInputMode": "File"})
    with pytest.raises(ChannelConfigError) as caught:
        check_channels(job.layout)
    assert "'train' has TrainingInputMode 'File'" in str(caught.value)
    assert "no channel named 'validation'" in str(caught.value)


def test_a_missing_wrapper_is_named_before_the_bytes_are_read(job: Job) -> None:
    bare = {**PIPE_CHANNEL, "RecordWrapperType": "None"}
    job.configure({}, train=bare, validation=PIPE_CHANNEL)
    with pytest.raises(ChannelConfigError, match="RecordWrapperType 'None'"):
        check_channels(job.layout)


def test_several_hosts_are_refused(job: Job) -> None:
    job.configure({}, train=PIPE_CHANNEL, validation=PIPE_CHANNEL)
    job.layout.resource_config.write_text(json.dumps({"hosts": ["algo-1", "algo-2"]}))
    with pytest.raises(ChannelConfigError, match="InstanceCount to 1"):
        check_channels(job.layout)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_configuration_that_is_absent_or_no_object_is_refused(
    job: Job, content: str | None
) -> None:
    path = job.layout.input_data_config
    if content is not None:
        path.write_text(content)
    with pytest.raises(ChannelConfigError, match=r"inputdataconfig\.json"):
        check_channels(job.layout)
