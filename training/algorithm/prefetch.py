"""Two ways to work ahead of a consumer, both with a bound on what waits."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from training.algorithm.pipe import Patience

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

_WAKE_S = 0.1
"""How often a blocked thread looks whether it is still wanted."""


def map_in_order(
    function: Callable[[A], B], items: Iterable[A], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[B]:
    """Apply ``function`` in the pool, at most ``ahead`` items before the one being yielded."""
    pending: deque[Future[B]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


@dataclass(frozen=True, slots=True)
class _End:
    """The last thing in the queue: why there is nothing more."""

    error: BaseException | None


@contextmanager
def read_ahead(
    items: Iterator[T], ahead: int, patience: Patience, abandoned: threading.Event
) -> Iterator[Iterator[T]]:
    """Run ``items`` in a thread of its own, at most ``ahead`` of them before the consumer.

    An error of the thread is raised to the consumer in its turn. Leaving the context sets
    ``abandoned``, which ``items`` must heed wherever it waits, and waits for the thread.
    """
    ready: queue.Queue[T | _End] = queue.Queue(ahead)
    thread = threading.Thread(
        target=_produce, args=(items, ready, abandoned), name="reader", daemon=True
    )
    thread.start()
    try:
        yield _consume(ready, patience)
    finally:
        abandoned.set()
        thread.join()


def _produce(
    items: Iterator[T], ready: "queue.Queue[T | _End]", abandoned: threading.Event
) -> None:
    end = _End(None)
    try:
        for item in items:
            if not _put(ready, item, abandoned):
                return
    except BaseException as error:  # noqa: BLE001  # handed to the consumer, whatever it is
        end = _End(error)
    _put(ready, end, abandoned)


def _put(ready: "queue.Queue[T | _End]", item: T | _End, abandoned: threading.Event) -> bool:
    while not abandoned.is_set():
        try:
            ready.put(item, timeout=_WAKE_S)
        except queue.Full:
            continue
        return True
    return False


def _consume(ready: "queue.Queue[T | _End]", patience: Patience) -> Iterator[T]:
    while True:
        patience.check_stop()
        try:
            item = ready.get(timeout=_WAKE_S)
        except queue.Empty:
            continue
        if isinstance(item, _End):
            if item.error is not None:
                raise item.error
            return
        yield item
