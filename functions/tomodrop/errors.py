"""Every error this package raises on purpose.

TomodropError
├── SettingsError      the environment of a function is incomplete or out of bounds
├── EventError         an event is not what this function is subscribed to
├── UploadRejected     an upload cannot be classified: becomes a rejection JSON, never a retry
├── UploadGone         an upload was deleted before it was read: nothing to answer
├── AnswerError        an output object of a transform job is not a prediction
├── SandboxError       the process that decodes uploads does not start: says nothing of an upload
├── OutOfTimeError     an invocation has no time left for another upload: it goes round again
├── WindowClosedError  a window was dispatched before this invocation finished: take the next one
├── TrainingDataError  the labelled set cannot be trained on yet
├── EvaluationError    a model cannot be scored on the held-out slices
├── OvertakenError     other decisions on models kept coming first: it is tried again
└── RollbackError      the model that is asked for cannot be made live again

Anything else propagates, so that the platform's retries and dead-letter queues do their work.
"""


class TomodropError(Exception):
    """Root of the tree. The text says what, which value, and what to do."""


class SettingsError(TomodropError):
    """One or more environment variables are missing or out of bounds; all are named at once."""


class EventError(TomodropError):
    """An event that this function cannot have been subscribed to, or a job that is not ours."""


class UploadRejected(TomodropError):
    """An upload that can never be classified.

    `code` is stable and for programs, `message` says what is wrong, `remedy` what to do. None of
    the three may quote the file's own text: it can hold a patient's name.
    """

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(f"{code}: {message} {remedy}")
        self.code = code
        self.message = message
        self.remedy = remedy


class UploadGone(TomodropError):
    """The version an event names can no longer be read."""


class AnswerError(TomodropError):
    """A transform output that is empty, truncated, not finite, or of the wrong class count."""


class SandboxError(TomodropError):
    """The decoders cannot be started, so no upload can be judged."""


class OutOfTimeError(TomodropError):
    """The time limit of the invocation is too near to begin decoding another upload."""


class WindowClosedError(TomodropError):
    """The window was planned already; an index part written to it now would never be read."""


class TrainingDataError(TomodropError):
    """The labelled set lacks a class, a group or any slice of the current normaliser."""


class EvaluationError(TomodropError):
    """Held-out slices that are missing or damaged, or a model that does not answer for them."""


class OvertakenError(TomodropError):
    """A decision on a model that lost every race against others."""


class RollbackError(TomodropError):
    """A model that was never live, or was made for other pixels or classes than the stack's."""
