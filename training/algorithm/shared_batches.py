"""Images that several threads bring, answered together: one call of the network for several."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from training.algorithm.engines import Floats, Levels, Outputs


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An image (H, W, C), and where its outputs go: one row of each of :class:`Outputs`."""

    image: Levels
    answer: "Future[tuple[Floats, Floats, Floats]]" = field(default_factory=Future)


class SharedBatches:
    """Calls ``answer`` from one thread, always with ``size`` images (N, H, W, C).

    The first image of a batch waits for others, at most ``longest_wait_s`` seconds; then black
    images take the places that are left. So the network always sees the same shape, and computes
    an image in the same way whichever others it meets.
    """

    def __init__(
        self, answer: Callable[[Levels], Outputs], *, size: int, longest_wait_s: float
    ) -> None:
        self._answer = answer
        self._size = size
        self._longest_wait_s = longest_wait_s
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        # Ends with the process: a server drains its requests before it goes.
        threading.Thread(target=self._work, name="network", daemon=True).start()

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C), however many. Raises what the network raised for them."""
        waiting = [_Waiting(image) for image in images]
        for each in waiting:
            self._queue.put(each)
        rows = [each.answer.result() for each in waiting]
        return Outputs(*map(np.stack, zip(*rows, strict=True)))

    def _work(self) -> None:
        while True:
            together = self._gather()
            try:
                outputs = self._answer(self._fill([each.image for each in together]))
            except Exception as error:  # noqa: BLE001  # theirs, whatever it is
                for each in together:
                    each.answer.set_exception(error)
                continue
            for place, each in enumerate(together):
                each.answer.set_result(
                    (outputs.scores[place], outputs.features[place], outputs.maps[place])
                )

    def _gather(self) -> list[_Waiting]:
        together = [self._queue.get()]
        until = time.monotonic() + self._longest_wait_s
        while len(together) < self._size:
            try:
                together.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                break
        return together

    def _fill(self, images: list[Levels]) -> Levels:
        batch = np.zeros((self._size, *images[0].shape), np.uint8)
        batch[: len(images)] = images
        return batch
