"""What decoding in the sandbox costs beside decoding in the process itself.

`PYTHONPATH=functions python benchmarks/sandbox.py` prints medians over rounds: processor time per
upload (own, and of the sandbox's processes) and time by the clock, and how long a start takes. On a
busy machine only processor time says something.
"""

import io
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "benchmark")

from PIL import Image, ImageFilter

from tomodrop.imaging.normaliser import normalise, warm_up
from tomodrop.sandbox.parent import Sandbox

SHAPE = (3, 224, 224)
ROUNDS, UPLOADS = 7, 60


@dataclass(frozen=True)
class Cost:
    """Milliseconds per upload."""

    processor: float
    clock: float


def picture() -> bytes:
    """A PNG of 512 x 512 that compresses about as well as a CT slice."""
    noise = Image.effect_noise((512, 512), 60).filter(ImageFilter.GaussianBlur(0.7))
    file = io.BytesIO()
    noise.save(file, "PNG")
    return file.getvalue()


def used() -> float:
    """Processor seconds of this process and of all that have ended under it."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def cost(run: Callable[[], object], uploads: int) -> Cost:
    """What `run` costs per upload."""
    processor, clock = used(), time.perf_counter()
    run()
    return Cost(
        1000 * (used() - processor) / uploads, 1000 * (time.perf_counter() - clock) / uploads
    )


def bare(body: bytes) -> Cost:
    """Decoded in this process."""
    return cost(lambda: [normalise(body, SHAPE) for _ in range(UPLOADS)], UPLOADS)


def sandboxed(body: bytes) -> Cost:
    """Decoded in the sandbox; what starting it takes is taken off."""

    def run(uploads: int) -> None:
        with Sandbox(SHAPE) as sandbox:
            for _ in range(uploads):
                sandbox.normalise(body)

    one, all_of_them = cost(lambda: run(1), 1), cost(lambda: run(UPLOADS + 1), 1)
    return Cost(
        (all_of_them.processor - one.processor) / UPLOADS,
        (all_of_them.clock - one.clock) / UPLOADS,
    )


def start_s(body: bytes) -> float:
    """Seconds from nothing to the first slice."""
    started = time.perf_counter()
    with Sandbox(SHAPE) as sandbox:
        sandbox.normalise(body)
        return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    body = picture()
    warm_up()
    print(f"PNG of {len(body)} bytes; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, measure in (("bare", bare), ("sandbox", sandboxed)):
        costs = [measure(body) for _ in range(ROUNDS)]
        processor = statistics.median(one.processor for one in costs)
        clock = statistics.median(one.clock for one in costs)
        print(f"{name:8} {processor:6.2f} ms of processor, {clock:6.2f} ms by the clock")
    print(f"start    {statistics.median(start_s(body) for _ in range(ROUNDS)):6.2f} s")


if __name__ == "__main__":
    main()
