"""Every announced event reaches its targets, each job's in order, restarts included."""

import logging
import threading
import time
from collections.abc import Callable

from local.sagemaker.events import delivered
from local.sagemaker.records import Json, Kind, RecordStore
from local.sagemaker.settings import Timing

logger = logging.getLogger(__name__)


class Outbox:
    """Hands the undelivered events of the records to `emit`, one thread per job that has any.

    An event leaves its record only after `emit` returned: a SIGKILL before that sends it again
    (at least once, as EventBridge does).
    """

    def __init__(self, store: RecordStore, emit: Callable[[Json], None], timing: Timing) -> None:
        self._store = store
        self._emit = emit
        self._timing = timing
        self._closing = threading.Event()
        self._lanes: dict[tuple[Kind, str], threading.Thread] = {}
        self._lock = threading.Lock()

    def wake(self, kind: Kind, name: str) -> None:
        """Have the events of a record sent."""
        with self._lock:
            if (kind, name) in self._lanes or self._closing.is_set():
                return
            lane = threading.Thread(
                target=self._drain, args=(kind, name), name=f"events-{name}", daemon=True
            )
            self._lanes[kind, name] = lane
            lane.start()

    def close(self, timeout_s: float) -> None:
        """Stop sending; what is undelivered stays in the records."""
        self._closing.set()
        deadline = time.monotonic() + timeout_s
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.join(max(0.0, deadline - time.monotonic()))

    def _drain(self, kind: Kind, name: str) -> None:
        while True:
            with self._lock:
                # Under the lock, so that no `wake` falls between this look and the lane's end.
                events = self._store.get(kind, name).undelivered
                if not events or self._closing.is_set():
                    del self._lanes[kind, name]
                    return
            self._deliver(kind, name, events[0])

    def _deliver(self, kind: Kind, name: str, event: Json) -> None:
        event_id = str(event["id"])
        pause_s = self._timing.emit_retry_first_s
        while not self._closing.is_set():
            try:
                self._emit(event)
            except Exception:  # whatever the bus raises, the event must not be lost
                logger.warning(
                    "event of %s %s was not taken; trying again", kind, name, exc_info=True
                )
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, self._timing.emit_retry_max_s)
                continue
            self._store.update(kind, name, lambda record: delivered(record, event_id))
            return
