"""The error tree of the algorithm, and how an error becomes an exit code and a failure file.

::

    JobFailedError
    ├── CustomerError            exit 2, "ClientError: …": the request or its data must change
    │   ├── HyperparameterError      every fault of the set at once
    │   ├── ChannelConfigError       a channel is missing or set up in a way we cannot read
    │   ├── NotRecordIOError         the bytes of a channel are not RecordIO
    │   ├── UnpairedRecordError      images and labels do not alternate
    │   ├── BadSampleError           a label or an image that cannot be used
    │   ├── CheckpointError          a checkpoint that cannot be read or is of another job
    │   ├── WeightsError             pretrained weights are absent, altered or do not fit
    │   └── ArtefactError            a model artefact that this code must not load
    └── AlgorithmError           exit 1, "AlgorithmError: …": trying again may help
        ├── PipeAbsentError          the FIFO never appeared
        ├── PipeLateError            the FIFO is there, but no bytes came in time
        ├── TruncatedRecordError     the stream ended inside a record
        ├── PeerFailedError          another process of the job failed; this one cannot go on
        └── StoppedError             told to stop before there was anything to keep
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

FAILURE_REASON_LIMIT = 1024
"""SageMaker shows only this many characters of the failure file."""


class JobFailedError(Exception):
    """Anything that ends a job on purpose; the message says what, which value, what to do."""

    exit_code: ClassVar[int] = 1
    label: ClassVar[str] = "AlgorithmError"
    log_label: ClassVar[str] = "Algorithm Error"


class CustomerError(JobFailedError):
    """What was asked for cannot be done as asked."""

    exit_code = 2
    label = "ClientError"
    log_label = "Customer Error"


class HyperparameterError(CustomerError):
    """The hyperparameters are not usable; ``faults`` names each fault, one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__(f"{len(self.faults)} {noun} in hyperparameters: " + " | ".join(faults))


class ChannelConfigError(CustomerError):
    """The channels of the job are not what the algorithm can read."""


class NotRecordIOError(CustomerError):
    """A record does not start as RecordIO does."""


class UnpairedRecordError(CustomerError):
    """A channel's records do not form image and label pairs."""


class BadSampleError(CustomerError):
    """One record holds no usable label or image."""


class CheckpointError(CustomerError):
    """A checkpoint that cannot be read, or belongs to another job."""


class WeightsError(CustomerError):
    """Pretrained weights cannot be used for this job."""


class ArtefactError(CustomerError):
    """A model folder that is incomplete, altered or of an unknown kind."""


class AlgorithmError(JobFailedError):
    """The job failed for a reason that the request did not cause."""


class PipeAbsentError(AlgorithmError):
    """The FIFO of an epoch never appeared."""


class PipeLateError(AlgorithmError):
    """The FIFO of an epoch gave no bytes for too long."""


class TruncatedRecordError(AlgorithmError):
    """A stream ended in the middle of a record."""


class PeerFailedError(AlgorithmError):
    """Another process of the job failed, and leaves the reason."""


class StoppedError(AlgorithmError):
    """The job was told to stop before a first epoch was finished."""


def describe_failure(error: BaseException) -> tuple[str, str, int]:
    """Return the text of the failure file, the log line and the exit code for ``error``."""
    if isinstance(error, JobFailedError):
        return f"{error.label}: {error}", f"{error.log_label}: {error}", error.exit_code
    cause = f"{str(error) or 'no message'} (caused by {type(error).__name__})"
    return f"AlgorithmError: {cause}", f"Algorithm Error: {cause}", AlgorithmError.exit_code


def write_failure(path: Path, reason: str) -> None:
    """Leave ``reason`` where SageMaker looks for it.

    The full text is written: the limit is on what SageMaker shows, and a local run can show
    more. A reason that is cut says so within the part that is shown.
    """
    if len(reason) > FAILURE_REASON_LIMIT:
        notice = " … (the whole reason is in the job's log) … "
        head = FAILURE_REASON_LIMIT - len(notice)
        reason = reason[:head] + notice + reason[head:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reason, encoding="utf-8")
