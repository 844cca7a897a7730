"""Checks what the job's configuration promises before a byte is read from a channel.

A wrong channel setting shows up as garbage in the pipe, minutes later; here it is a sentence.
"""

import json
from typing import Any

from training.algorithm.failure import ChannelConfigError
from training.algorithm.paths import Layout

TRAIN = "train"
VALIDATION = "validation"
RECORD_IO = "RecordIO"
ADVICE = (
    'use TrainingInputMode "Pipe" with S3DataType "AugmentedManifestFile", '
    'AttributeNames ["source-ref", "class"] and RecordWrapperType "RecordIO"'
)


def check_channels(layout: Layout) -> None:
    """Check that ``train`` and ``validation`` are channels this algorithm can read.

    :raises ChannelConfigError: naming every setting that must change.
    """
    channels = _read_object(layout, "inputdataconfig.json")
    faults = [
        fault for name in (TRAIN, VALIDATION) for fault in _channel_faults(name, channels.get(name))
    ]
    faults += _host_faults(layout)
    if faults:
        raise ChannelConfigError(" | ".join(faults))


def _channel_faults(name: str, channel: Any) -> list[str]:
    if not isinstance(channel, dict):
        return [f"there is no channel named {name!r}: both 'train' and 'validation' are needed"]
    faults = []
    mode = channel.get("TrainingInputMode", "Pipe")
    if mode != "Pipe":
        faults.append(f"channel {name!r} has TrainingInputMode {mode!r}: {ADVICE}")
    wrapper = channel.get("RecordWrapperType", RECORD_IO)
    if wrapper != RECORD_IO:
        faults.append(
            f"channel {name!r} has RecordWrapperType {wrapper!r}: without RecordIO nothing "
            f"marks where an image ends and its label starts; {ADVICE}"
        )
    return faults


def _host_faults(layout: Layout) -> list[str]:
    if not layout.resource_config.exists():
        return []
    hosts = _read_object(layout, "resourceconfig.json").get("hosts", [])
    if len(hosts) > 1:
        return [f"the job has {len(hosts)} instances: set InstanceCount to 1"]
    return []


def _read_object(layout: Layout, name: str) -> dict[str, Any]:
    path = layout.input_data_config.with_name(name)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ChannelConfigError(f"{path} is missing: the job has no channels") from None
    except ValueError as error:
        raise ChannelConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ChannelConfigError(f"{path} must hold a JSON object")
    return content
