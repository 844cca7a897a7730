"""When waiting has no point any more: nothing has moved for a long, bounded time."""

import time
from collections.abc import Callable, Hashable

# Longer than the slowest legitimate pause: an upload whose intake failed is tried again after the
# queue's visibility time-out, and a sweep sends round what is overdue.
STALL_SECONDS = 600.0


class Patience:
    """Told again and again what progress looks like; says when it has not changed for too long."""

    def __init__(
        self, seconds: float = STALL_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._clock = seconds, clock
        self._last: Hashable = None
        self._since = clock()

    def is_over(self, progress: Hashable) -> bool:
        """Whether `progress` has been the same for the whole time."""
        if progress != self._last:
            self._last, self._since = progress, self._clock()
        return self._clock() - self._since >= self._seconds
