"""Records of a pass that hold no usable image: counted, named by number, left out up to a share."""

import threading

from training.algorithm.failure import BadSampleError
from training.algorithm.log import LOGGER

NAMED = 10
"""So many are named in the log; the others are only counted."""


class Rejects:
    """Of one pass; ``add`` is called from several threads.

    ``share`` is the largest share of the pass that may be left out; 0 ends the job at the first.
    """

    def __init__(self, where: str, share: float, advice: str) -> None:
        self._where = where
        self._share = share
        self._advice = advice
        self._lock = threading.Lock()
        self._first: str | None = None
        self.count = 0

    def add(self, number: int, reason: str) -> None:
        """Count record ``number`` of the pass, which is left out because of ``reason``.

        :raises BadSampleError: when none may be left out.
        """
        what = f"image {number} cannot be used: {reason}"
        if self._share == 0:
            raise BadSampleError(f"{self._where}: {what}. {self._advice}")
        with self._lock:
            self.count += 1
            count = self.count
            self._first = self._first or what
        if count <= NAMED:
            LOGGER.warning("%s: %s; it is left out", self._where, what)

    def conclude(self, total: int) -> None:
        """Say at the end of the pass how many of its ``total`` records were left out.

        :raises BadSampleError: when they are more than may be.
        """
        if not self.count:
            return
        found = f"{self._where}: {self.count} of {total} records hold no usable image"
        if self.count > self._share * total or self.count == total:
            raise BadSampleError(
                f"{found}, more than bad_record_share={self._share:g} allows; "
                f"{self._first}. {self._advice}"
            )
        LOGGER.warning("%s and were left out", found)
