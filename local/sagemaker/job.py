"""What every running job has: its record, its folder, its tools, and an ear for "stop"."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from local.sagemaker.container import JobFolder
from local.sagemaker.errors import ServerClosingError, StopRequestedError
from local.sagemaker.objects import ObjectStore
from local.sagemaker.programs import Programs
from local.sagemaker.progress import Progress
from local.sagemaker.records import Change, Record
from local.sagemaker.settings import Identity, Timing


class Control:
    """How the outside reaches a running job."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._closing = threading.Event()
        self._any = threading.Event()

    def stop(self) -> None:
        """The job is to end as Stopped."""
        self._stop.set()
        self._any.set()

    def close(self) -> None:
        """The server ends: the job is to leave everything as it is."""
        self._closing.set()
        self._any.set()

    @property
    def interrupted(self) -> bool:
        """Whether the job is to end, for either reason."""
        return self._any.is_set()

    @property
    def closing(self) -> bool:
        """Whether the server ends."""
        return self._closing.is_set()

    def check(self) -> None:
        """Raise ServerClosingError or StopRequestedError if the job is to end."""
        self.check_closing()
        if self._stop.is_set():
            raise StopRequestedError

    def check_closing(self) -> None:
        """Raise ServerClosingError if the server ends."""
        if self.closing:
            raise ServerClosingError

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up early to end."""
        self._any.wait(seconds)


@dataclass(frozen=True)
class Tools:
    """What all jobs work with."""

    objects: ObjectStore
    programs: Programs
    identity: Identity
    timing: Timing


@dataclass(frozen=True)
class Job:
    """One run of one job."""

    folder: JobFolder
    tools: Tools
    control: Control
    progress: Progress
    read: Callable[[], Record]
    change: Callable[[Change], Record]
    """Apply a change to the record, and announce it with an event."""
    clock: Callable[[], float] = field(default=time.time)

    @property
    def record(self) -> Record:
        """The record as it is now."""
        return self.read()
