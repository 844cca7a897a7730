"""The time of a simulated world. Real time passes for nobody but the sandbox's processes."""

from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import time_machine

START = datetime(2026, 11, 24, 15, 40, tzinfo=UTC)


class Clock:
    """Stands still until it is told to go on. Services go by it; functions by theirs, which err."""

    def __init__(self) -> None:
        self.now = START
        self._machine = time_machine.travel(START, tick=False)
        self._traveller: time_machine.Traveller | None = None

    def __enter__(self) -> Self:
        self._traveller = self._machine.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._machine.stop()

    def reset(self) -> None:
        """Back to the start."""
        self.now = START
        self.show()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.show()

    def show(self, skew_s: float = 0) -> None:
        """What `datetime.now` and `time.time` answer from here on."""
        assert self._traveller
        self._traveller.move_to(self.now + timedelta(seconds=skew_s))
