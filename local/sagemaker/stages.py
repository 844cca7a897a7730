"""What runs before and after a request: objects are read ahead of it, results written behind it."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


class ReadAhead(Generic[Item, Read]):
    """Reads items in order, at most `depth` ahead of whoever takes them. Thread-safe.

    A context manager: on leaving, what was not begun is not read any more.
    """

    def __init__(
        self, read: Callable[[Item], Read], items: Iterable[Item], *, depth: int, threads: int
    ) -> None:
        self._read = read
        self._items = iter(items)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
        self._lock = threading.Lock()
        self._begun: deque[tuple[Item, Future[Read]]] = deque()
        for _ in range(depth):
            self._begin_one()

    def take(self) -> tuple[Item, Future[Read]] | None:
        """The next item and what its reading gives or raises; None after the last."""
        with self._lock:
            self._begin_one()
            return self._begun.popleft() if self._begun else None

    def _begin_one(self) -> None:
        for item in self._items:
            try:
                self._begun.append((item, self._pool.submit(self._read, item)))
            except RuntimeError:
                return  # left already
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


class WriteBehind:
    """Runs writes on threads of its own, at most `depth` of them waiting. Thread-safe.

    A context manager: on leaving, everything handed over is written. `fault` is what the first
    failed write raised.
    """

    def __init__(self, *, depth: int, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write-behind")
        self._room = threading.BoundedSemaphore(depth)
        self.fault: BaseException | None = None

    def put(self, write: Callable[[], None]) -> None:
        """Hand a write over; waits while there are too many."""
        self._room.acquire()
        self._pool.submit(write).add_done_callback(self._done)

    def _done(self, written: Future[None]) -> None:
        self._room.release()
        try:
            error = written.exception()
        except CancelledError:
            return
        self.fault = self.fault or error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
