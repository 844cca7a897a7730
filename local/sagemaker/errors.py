"""Every error this package raises on purpose.

SageMakerError
├── RequestError                    answered to the caller, HTTP 400
│   ├── ValidationError             "ValidationException"
│   ├── ResourceInUseError          the name was used before
│   ├── ResourceNotFoundError       a tag operation on something that does not exist
│   ├── ResourceLimitExceededError  no free instance: ask again later
│   └── UnknownOperationError       not offered here
├── JobError                        ends a job as Failed; its text is the FailureReason
│   ├── ClientJobError              "ClientError: …": the caller's data or settings
│   ├── AlgorithmJobError           "AlgorithmError: …": the program
│   └── InternalJobError            "InternalServerError: …": this server
├── NoAnswerError                   one request to a container (see `model_server`)
├── StopRequestedError              ends a job as Stopped
└── ServerClosingError              this process ends; the job runs again at the next start
"""

from typing import ClassVar


class SageMakerError(Exception):
    """Root of the tree."""


class RequestError(SageMakerError):
    """A request that is answered with an error; `code` is AWS's name for it."""

    code: ClassVar[str]


class ValidationError(RequestError):
    """The request breaks a constraint, or names something in a state that forbids it."""

    code = "ValidationException"


class ResourceInUseError(RequestError):
    """A job of this name exists or existed."""

    code = "ResourceInUse"


class ResourceNotFoundError(RequestError):
    """Nothing has this ARN."""

    code = "ResourceNotFound"


class ResourceLimitExceededError(RequestError):
    """All instances of this kind are taken."""

    code = "ResourceLimitExceeded"


class UnknownOperationError(RequestError):
    """An operation of SageMaker's that this server does not offer, or none at all."""

    code = "UnknownOperationException"


class JobError(SageMakerError):
    """A job cannot go on; `str()` is its FailureReason."""

    blame: ClassVar[str]

    @property
    def text(self) -> str:
        """The reason without whom it is on."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.blame}: {self.text}"


class ClientJobError(JobError):
    """The data or the settings of whoever created the job."""

    blame = "ClientError"


class AlgorithmJobError(JobError):
    """The program, or the model it serves."""

    blame = "AlgorithmError"


class InternalJobError(JobError):
    """The fault of this server, or of the storage under it."""

    blame = "InternalServerError"


class StopRequestedError(SageMakerError):
    """Someone asked for the job to stop."""


class ServerClosingError(SageMakerError):
    """The server is closing: leave the job's record as it is."""
