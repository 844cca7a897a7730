"""Log lines as the built-in writes them: people's metric regexes read these."""

import logging
import sys
import time

LOGGER = logging.getLogger("training.algorithm")
PROGRESS_EVERY_S = 3.0


def set_up_logging() -> None:
    """Send INFO and above to standard output, in the built-in's form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        logging.Formatter(
            "[%(asctime)s %(levelname)s %(process)d] %(message)s", "%m/%d/%Y %H:%M:%S"
        )
    )
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class Progress:
    """Says within a pass how far it is, every few seconds.

    ``expected_samples`` may be None for a first pass over a channel of unknown length.
    """

    def __init__(self, what: str, expected_samples: int | None, batch_size: int) -> None:
        self._what = what
        self._total = -(-expected_samples // batch_size) if expected_samples else None
        self._batches = 0
        self._samples = 0
        self._said_at = time.monotonic()
        self._samples_said = 0

    def add(self, samples: int, accuracy: float | None = None) -> None:
        """Count one batch, and log a line when the last one is long enough ago."""
        self._batches += 1
        self._samples += samples
        now = time.monotonic()
        if now - self._said_at < PROGRESS_EVERY_S:
            return
        speed = (self._samples - self._samples_said) / (now - self._said_at)
        self._said_at, self._samples_said = now, self._samples
        known = f" of [{max(self._total, self._batches)}]" if self._total else ""
        tail = "" if accuracy is None else f"\tTrain-accuracy={accuracy:.6f}"
        LOGGER.info(
            "%s Batch [%d]%s\tSpeed: %.2f samples/sec%s",
            *(self._what, self._batches, known, speed, tail),
        )
