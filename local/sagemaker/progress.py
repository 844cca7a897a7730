"""How far the running jobs are, for whoever waits at a screen."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local.sagemaker.metrics import EpochProgress

READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class JobProgress:
    """One job as shown to people. `done` of `total` counts objects, or epochs of a training.

    `before`: how many objects were done already when this run of the job began.
    """

    kind: Literal["training", "transform"]
    name: str
    status: str
    detail: str
    done: int
    total: int | None
    started_at: float
    before: int = 0


class Progress:
    """Where a running job notes what it is at. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detail = "waiting to start"
        self._done = 0
        self._total: int | None = None
        self._before = 0
        self._look: Callable[[], tuple[str, int]] | None = None

    def note(
        self,
        detail: str,
        *,
        done: int | None = None,
        total: int | None = None,
        before: int | None = None,
    ) -> None:
        """Say what the job is at; counts stay as they are unless given."""
        with self._lock:
            self._take_look()
            self._look = None
            self._detail = detail
            self._done = self._done if done is None else done
            self._total = self._total if total is None else total
            self._before = self._before if before is None else before

    @property
    def before(self) -> int:
        """How many objects an earlier run of the job did."""
        with self._lock:
            return self._before

    def count_one(self) -> None:
        """One more is done."""
        with self._lock:
            self._done += 1

    def follow(self, look: Callable[[], tuple[str, int]], total: int | None) -> None:
        """Have detail and count looked up when someone asks."""
        with self._lock:
            self._look, self._total = look, total

    def now(self) -> tuple[str, int, int | None]:
        """Detail, done, total."""
        with self._lock:
            self._take_look()
            return self._detail, self._done, self._total

    def _take_look(self) -> None:
        if self._look is not None:
            self._detail, self._done = self._look()


class LogFollower:
    """Reads what a training's log gained since the last look."""

    def __init__(self, log: Path, offset: int, epochs: int | None) -> None:
        self._log = log
        self._offset = offset
        self._epochs = epochs
        self._rest = b""
        self._epoch = EpochProgress()

    def look(self) -> tuple[str, int]:
        """What to show ("epoch 2 of 5"), and how many epochs are finished."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            while piece := file.read(READ_BYTES):
                self._offset += len(piece)
                self._take(piece)
        return self._epoch.text(self._epochs), self._epoch.finished

    def _take(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._epoch = self._epoch.after(line.decode("utf-8", errors="replace"))
