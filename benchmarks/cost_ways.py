"""Four ways to answer the same images: what each costs in a day, and when each image is answered.

The batched way goes through the functions' own code: `window_of`, `is_settled`, `pack` and
`choose_instance`, with dispatch's order, which stops at the first job that is refused.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from benchmarks.cost_prices import (
    LAMBDA_GB_S,
    SECONDS_PER_DAY,
    Requests,
    of_batches,
    of_one_by_one,
)
from tomodrop.dispatching import pack
from tomodrop.imaging.version import NORMALISER
from tomodrop.instances import INSTANCES, choose_instance, expect
from tomodrop.slices import IndexLine, Source
from tomodrop.windows import is_settled, window_of

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
TICK_S = 60
BILLED_START_S = 120.0
COLLECT_S_PER_IMAGE = 0.005
# Instances of a type at one time: one account of May 2026; types not seen there get the least.
QUOTAS: defaultdict[str, int] = defaultdict(
    lambda: 4, {"ml.c5.xlarge": 16, "ml.c5.2xlarge": 8, "ml.m5.xlarge": 8, "ml.m5.large": 8}
)
LAMBDA_GB, LAMBDA_VCPUS, LAMBDA_CONCURRENCY = 3.538, 2, 20
COLD_START_S, KEPT_WARM_S = 8.0, 300.0
# What `pack` needs of a line is its upload and its place in it.
_LINE = IndexLine.model_construct(
    slice_id="", source=Source.model_construct(key=""), normaliser=NORMALISER
)
BUSY = 0.8  # of an endpoint's capacity in its busiest hour


@dataclass(frozen=True)
class Stack:
    """The parameters of the template that matter here."""

    window_minutes: float = 5
    intake_timeout_seconds: int = 60
    batching_window_seconds: int = 5
    max_slices_per_job: int = 5000
    instance_types: tuple[str, ...] = ("ml.g4dn.xlarge",)
    target_minutes: float = 60


@dataclass
class Answered:
    """A day of one way.

    `usd_model`: of instances or of the model's own function, with all of a start-up billed and with
    `BILLED_START_S` of it; `waits_s`: of each image.
    """

    usd_model: tuple[float, float]
    requests: Requests
    waits_s: list[float] = field(repr=False)
    used: str

    @property
    def usd_per_1000(self) -> float:
        """All of it, for a thousand images."""
        return self._per_1000(self.usd_model[0])

    @property
    def usd_per_1000_part_billed(self) -> float:
        """The same, where some of the start-up is not billed."""
        return self._per_1000(self.usd_model[1])

    def _per_1000(self, usd_model: float) -> float:
        return 1000 * (usd_model + self.requests.usd) / len(self.waits_s)


def batched(arrivals: Sequence[float], stack: Stack) -> Answered:
    """Tomodrop. `arrivals`: seconds since midnight, in order."""
    window_s = round(stack.window_minutes * 60)
    windows: defaultdict[str, list[float]] = defaultdict(list)
    for arrival in arrivals:
        taken_in = MIDNIGHT + timedelta(seconds=arrival + stack.batching_window_seconds)
        windows[window_of(taken_in, window_s)].append(arrival)
    ready: list[list[float]] = []
    running: list[tuple[float, str]] = []
    waits, all_billed, part_billed, types, tick = [], 0.0, 0.0, Counter[str](), 0
    waiting = sorted(windows)
    while waiting or ready:
        tick += 1
        now_s = tick * TICK_S
        while running and running[0][0] <= now_s:
            heapq.heappop(running)
        now = MIDNIGHT + timedelta(seconds=now_s)
        while waiting and is_settled(waiting[0], now, window_s, stack.intake_timeout_seconds):
            ready += _parts(windows[waiting.pop(0)], stack.max_slices_per_job)
        while ready:
            choice = choose_instance(len(ready[0]), stack.instance_types, stack.target_minutes)
            name = choice.instance_type
            if sum(running_type == name for _, running_type in running) >= QUOTAS[name]:
                break
            part = ready.pop(0)
            ends = now_s + (choice.minutes or math.inf) * 60
            heapq.heappush(running, (ends, name))
            types[name.removeprefix("ml.")] += 1
            all_billed += billed(len(part), name, None)
            part_billed += billed(len(part), name, BILLED_START_S)
            done = ends + COLLECT_S_PER_IMAGE * len(part)
            waits += [done - arrival for arrival in part]
    ticks = max(tick, SECONDS_PER_DAY // TICK_S)
    requests = of_batches(len(arrivals), len(windows), types.total(), ticks=ticks, multipart=True)
    used = ", ".join(f"{count} x {name}" for name, count in types.most_common())
    return Answered((all_billed, part_billed), requests, waits, used)


def _parts(arrivals: list[float], max_slices: int) -> list[list[float]]:
    lines = [_line(number) for number in range(len(arrivals))]
    packed = pack(lines, max_slices)
    return [[arrivals[int(line.slice_id.partition("-")[0])] for line in part] for part in packed]


def _line(number: int) -> IndexLine:
    return _LINE.model_copy(update={"slice_id": f"{number:07d}-00000"})


def billed(images: int, name: str, start_s: float | None) -> float:
    """What SageMaker asks for a job: all of the start-up (None), or so many seconds of it."""
    instance = INSTANCES[name]
    start = instance.start_up_s if start_s is None else start_s
    return (start + images / instance.images_per_s) / 3600 * instance.usd_per_hour


def job_per_image(arrivals: Sequence[float], types: Sequence[str]) -> Answered:
    """A transform job for each image, on the cheapest type, as many at a time as the quota lets."""
    name = min(types, key=lambda one: billed(1, one, None))
    takes_s = (expect(1, name).minutes or math.inf) * 60
    waits = _queue(arrivals, QUOTAS[name], takes_s)
    images = len(arrivals)
    requests = of_batches(images, images, images, ticks=0, multipart=True)
    usd = (images * billed(1, name, None), images * billed(1, name, BILLED_START_S))
    return Answered(usd, requests, waits, f"{images:,} x {name.removeprefix('ml.')}")


def endpoint(arrivals: Sequence[float], types: Sequence[str]) -> Answered:
    """Instances that are always on: as few as keep up in the busiest hour, of the cheapest type."""
    busiest = max(Counter(int(arrival // 3600) for arrival in arrivals).values()) / 3600
    counts = {
        name: max(1, math.ceil(busiest / (BUSY * INSTANCES[name].images_per_s))) for name in types
    }
    name = min(types, key=lambda one: counts[one] * INSTANCES[one].usd_per_hour)
    takes_s = 1 / INSTANCES[name].images_per_s
    waits = _queue(arrivals, counts[name], takes_s)
    usd = counts[name] * INSTANCES[name].usd_per_hour * 24
    requests = of_one_by_one(len(arrivals), waiting_gb_s=len(arrivals) * takes_s * 0.5)
    return Answered((usd, usd), requests, waits, f"{counts[name]} x {name.removeprefix('ml.')}")


def in_lambda(arrivals: Sequence[float], images_per_vcpu_s: float) -> Answered:
    """The model in a function with two vCPUs, warm for some minutes after each image."""
    takes_s = 1 / (images_per_vcpu_s * LAMBDA_VCPUS)
    idle: list[float] = []  # when each warm one was last used, the latest at the end
    busy: list[float] = []
    waits, cold = [], 0
    for arrival in arrivals:
        now = arrival
        while busy and busy[0] <= now:
            idle.append(heapq.heappop(busy))
        if len(busy) >= LAMBDA_CONCURRENCY:
            now = heapq.heappop(busy)
            idle.append(now)
        is_warm = bool(idle) and now - idle[-1] <= KEPT_WARM_S
        if is_warm:
            idle.pop()
        else:
            idle.clear()
            cold += 1
        ends = now + takes_s + (0 if is_warm else COLD_START_S)
        heapq.heappush(busy, ends)
        waits.append(ends - arrival)
    seconds = len(arrivals) * takes_s + cold * COLD_START_S
    usd = seconds * LAMBDA_GB * LAMBDA_GB_S
    return Answered((usd, usd), of_one_by_one(len(arrivals), 0), waits, f"{cold:,} cold starts")


def _queue(arrivals: Sequence[float], servers: int, takes_s: float) -> list[float]:
    """Waits in one queue before so many servers, first come, first served."""
    free = [0.0] * servers
    waits = []
    for arrival in arrivals:
        begins = max(arrival, heapq.heappop(free))
        ends = begins + takes_s
        heapq.heappush(free, ends)
        waits.append(ends - arrival)
    return waits
