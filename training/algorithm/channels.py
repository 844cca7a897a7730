"""Which way each channel of the job comes in, decided by its settings before a byte is read.

===================  ===============================  ======================================
TrainingInputMode    settings                         what arrives
===================  ===============================  ======================================
Pipe                 RecordWrapperType RecordIO       an augmented manifest: the values of
                                                      AttributeNames in turn, a record each
Pipe                 RecordWrapperType None,          .rec files of im2rec, one after the other
                     application/x-recordio
File, FastFile       application/x-recordio           .rec files of im2rec
File, FastFile       application/x-image, image/png   image files, and a channel ``<name>_lst``
                     or image/jpeg                    with their list
===================  ===============================  ======================================

A wrong setting shows up as garbage in the pipe, minutes later; here it is a sentence. What the
settings cannot tell (SageMaker does not pass on S3DataType and AttributeNames) the readers name
when the first record does not fit.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.algorithm.failure import ChannelConfigError
from training.algorithm.labels import LabelFormat
from training.algorithm.paths import Layout

TRAIN = "train"
VALIDATION = "validation"
MODEL = "model"
LIST_SUFFIX = "_lst"
RECORD_IO = "RecordIO"
REPLICATED = "FullyReplicated"
RECORD_TYPE = "application/x-recordio"
IMAGE_TYPES = ("application/x-image", "image/png", "image/jpeg")
MODEL_TYPE = "application/x-sagemaker-model"
LABEL_FORMAT = "label-format"
PIPE = "Pipe"
FILE_MODES = ("File", "FastFile")
ADVICE = (
    'use TrainingInputMode "Pipe" with S3DataType "AugmentedManifestFile", '
    'AttributeNames ["source-ref", "class"] and RecordWrapperType "RecordIO"'
)


class Way(enum.Enum):
    """How the samples of a channel arrive."""

    PIPE_MANIFEST = "an augmented manifest in Pipe mode"
    PIPE_RECORDS = "RecordIO files in Pipe mode"
    FILE_RECORDS = "RecordIO files in File mode"
    FILE_IMAGES = "images with a list in File mode"


@dataclass(frozen=True, slots=True)
class ChannelInput:
    """What one channel's settings say about its samples."""

    way: Way = Way.PIPE_MANIFEST
    label_format: LabelFormat = LabelFormat.MULTI_HOT


@dataclass(frozen=True, slots=True)
class Inputs:
    """The channels of a job."""

    train: ChannelInput
    validation: ChannelInput
    has_model: bool


def check_channels(layout: Layout, *, group_records: bool = False) -> Inputs:
    """Return how the channels ``train``, ``validation`` and ``model`` come in.

    :raises ChannelConfigError: naming every setting that must change.
    """
    channels = _read_object(layout, "inputdataconfig.json")
    faults: list[str] = []
    train, validation = (
        _read_channel(name, channels, faults, group_records=group_records)
        for name in (TRAIN, VALIDATION)
    )
    faults += _model_faults(channels)
    if faults:
        raise ChannelConfigError(" | ".join(faults))
    return Inputs(train, validation, MODEL in channels)


def _read_channel(
    name: str, channels: Mapping[str, Any], faults: list[str], *, group_records: bool
) -> ChannelInput:
    channel = channels.get(name)
    if not isinstance(channel, dict):
        faults.append(f"there is no channel named {name!r}: both 'train' and 'validation' needed")
        return ChannelInput()
    way = _find_way(name, channel, faults)
    if way is Way.FILE_IMAGES:
        faults += _list_faults(name + LIST_SUFFIX, channels)
    if group_records and way not in (None, Way.PIPE_MANIFEST):
        faults.append(
            f"channel {name!r} delivers {way.value}, where group_records=1 has no record to read: "
            'set group_records=0, or use an augmented manifest with AttributeNames ["source-ref", '
            '"class", "group"]'
        )
    distribution = channel.get("S3DistributionType", REPLICATED)
    if distribution != REPLICATED:
        faults.append(
            f"channel {name!r} has S3DataDistributionType {distribution!r}: use {REPLICATED!r}"
        )
    return ChannelInput(way or Way.PIPE_MANIFEST, _label_format(name, channel, faults))


def _find_way(name: str, channel: Mapping[str, Any], faults: list[str]) -> Way | None:
    mode = channel.get("TrainingInputMode", PIPE)
    media = _media_type(channel)
    if mode == PIPE:
        return _find_pipe_way(name, channel, media, faults)
    if mode not in FILE_MODES:
        faults.append(f"channel {name!r} has TrainingInputMode {mode!r}: use Pipe or File")
        return None
    if media == RECORD_TYPE:
        return Way.FILE_RECORDS
    if media in IMAGE_TYPES:
        return Way.FILE_IMAGES
    faults.append(
        f"channel {name!r} has TrainingInputMode {mode!r} and ContentType {media!r}: use "
        f"{RECORD_TYPE} for .rec files or application/x-image for images and a channel "
        f"'{name}{LIST_SUFFIX}' with their list; for an augmented manifest {ADVICE}"
    )
    return None


def _find_pipe_way(
    name: str, channel: Mapping[str, Any], media: str | None, faults: list[str]
) -> Way | None:
    wrapper = channel.get("RecordWrapperType", "None")
    if media not in (None, RECORD_TYPE, *IMAGE_TYPES):
        faults.append(f"channel {name!r} has ContentType {media!r}: use {RECORD_TYPE}")
        return None
    if wrapper == RECORD_IO:
        return Way.PIPE_MANIFEST
    if wrapper == "None" and media == RECORD_TYPE:
        return Way.PIPE_RECORDS
    faults.append(
        f"channel {name!r} has RecordWrapperType {wrapper!r} and ContentType {media!r}: without "
        f"RecordIO nothing marks where an image ends and its label starts; {ADVICE}, or "
        f"ContentType {RECORD_TYPE} if it delivers .rec files"
    )
    return None


def _list_faults(name: str, channels: Mapping[str, Any]) -> list[str]:
    channel = channels.get(name)
    if not isinstance(channel, dict):
        return [f"there is no channel named {name!r}: it must deliver the .lst file of the images"]
    mode = channel.get("TrainingInputMode")
    if mode not in FILE_MODES:
        return [f"channel {name!r} has TrainingInputMode {mode!r}: a list needs File"]
    return []


def _model_faults(channels: Mapping[str, Any]) -> list[str]:
    channel = channels.get(MODEL)
    if channel is None:
        return []
    if not isinstance(channel, dict) or channel.get("TrainingInputMode") not in FILE_MODES:
        return [f"channel {MODEL!r} must have TrainingInputMode 'File'"]
    if _media_type(channel) != MODEL_TYPE:
        content = channel.get("ContentType")
        return [f"channel {MODEL!r} has ContentType {content!r}: use {MODEL_TYPE}"]
    return []


def _media_type(channel: Mapping[str, Any]) -> str | None:
    content = channel.get("ContentType")
    return str(content).split(";")[0].strip().lower() if content else None


def _label_format(name: str, channel: Mapping[str, Any], faults: list[str]) -> LabelFormat:
    content = str(channel.get("ContentType") or "")
    for parameter in content.split(";")[1:]:
        key, _, value = parameter.partition("=")
        if key.strip().lower() != LABEL_FORMAT:
            continue
        try:
            return LabelFormat(value.strip().strip('"').lower())
        except ValueError:
            faults.append(
                f"channel {name!r} has ContentType {content!r}: {LABEL_FORMAT} is "
                + " or ".join(known.value for known in LabelFormat)
            )
    return LabelFormat.MULTI_HOT


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
