"""Cost per 1,000 images and time to the result, by how images arrive: four ways side by side.

    python -m benchmarks.cost [--write]

A day is simulated: Tomodrop through its own dispatch logic (windows, parts, choice of instance), a
transform job per image, an endpoint that is always on, and the model in Lambda. Prices are in
`cost_prices.py`, speeds and start-up in `functions/tomodrop/instances.py`, quotas and what is
assumed of the other ways in `cost_ways.py`. The table goes to standard output and, with --write,
to `benchmarks/results/cost.md`.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cost_prices import KMS_REQUEST, S3_PUT
from benchmarks.cost_ways import (
    BILLED_START_S,
    COLD_START_S,
    LAMBDA_CONCURRENCY,
    QUOTAS,
    Answered,
    Stack,
    batched,
    endpoint,
    in_lambda,
    job_per_image,
)
from tomodrop.instances import INSTANCES

TITLE = "# Cost and time to the result, `python -m benchmarks.cost --write`"
OUTPUT = Path(__file__).parent / "results" / "cost.md"
ALL_TYPES = tuple(INSTANCES)
# Measured on two cores, ResNet-152 at 224 px: int8 with VNNI 9.0 images/s, fp32 2.0.
INT8 = "in Lambda, int8 with VNNI"
INT8_PER_VCPU, FP32_PER_VCPU = 9.0 / 4, 2.0 / 4
START_S = INSTANCES["ml.m5.large"].start_up_s
NOON_S = 12 * 3600.0
DAY_S = 86_400.0


def burst(images: int, seconds: float = 60) -> list[float]:
    """So many images within a minute at noon."""
    chance = random.Random(images)  # noqa: S311 - arrivals, no secret
    return sorted(NOON_S + chance.uniform(0, seconds) for _ in range(images))


def steady(images: int) -> list[float]:
    """So many a day, each at random."""
    chance = random.Random(images)  # noqa: S311
    return sorted(chance.uniform(0, DAY_S) for _ in range(images))


# What is cheap: types to choose from, and jobs large enough for a start-up not to count.
CHOOSING = Stack(instance_types=ALL_TYPES, max_slices_per_job=100_000)
PATTERNS: dict[str, tuple[list[float], Stack]] = {
    "1,440 a day, steady": (steady(1_440), CHOOSING),
    "1,440 a day, steady, windows of an hour": (
        steady(1_440),
        Stack(instance_types=ALL_TYPES, max_slices_per_job=100_000, window_minutes=60),
    ),
    "20,000 a day, steady": (steady(20_000), CHOOSING),
    "1,000,000 a day, steady": (steady(1_000_000), CHOOSING),
    "burst of 100": (burst(100), CHOOSING),
    "burst of 1,000": (burst(1_000), CHOOSING),
    "burst of 1,000, template's defaults": (burst(1_000), Stack()),
    "burst of 10,000": (burst(10_000), CHOOSING),
    "burst of 100,000": (burst(100_000), CHOOSING),
    "burst of 100,000, template's defaults": (burst(100_000), Stack()),
}
_QUOTAS = ", ".join(f"{name.removeprefix('ml.')} {count}" for name, count in QUOTAS.items())
ASSUMED = f"""\
Read with these assumptions. ResNet-152 at 224 px, slices of some 50 kB, one slice an upload; most
speeds are estimates from one that was measured (`instances.py`). The user's own upload is the same
in every way and is not counted, nor is a day's storage.

- Transform jobs: {START_S:.0f} s from the call to the first answer. "All billed" pays for them in
  full; SageMaker bills from the start of the transform on, {BILLED_START_S:.0f} s of them, say.
- Outputs are put by multipart upload, three requests each, as SageMaker's guide says. Were they
  one request, both ways with jobs would cost {2000 * S3_PUT:.2f} USD less for 1,000 images.
- As many jobs of a type at a time as one account was allowed in 2026:
  {_QUOTAS}, others 4.
- Endpoint: as few instances as are at most 80 % busy in the busiest hour, for 24 hours.
- Lambda: 2 vCPUs in 3.5 GB, {LAMBDA_CONCURRENCY} at a time, {COLD_START_S:.0f} s for a cold start
  (a guess), the speed per vCPU that instances have: int8 where the processor has VNNI, which AWS
  does not promise, fp32 where not. SageMaker's built-in algorithm cannot run there at all.
- Requests to S3, SQS and DynamoDB and the functions' own time are in every figure ("of it
  requests"). Some of Tomodrop's are by the day: dispatch looks once a minute whatever comes.
- A key of one's own costs {KMS_REQUEST * 6000:.3f} USD more for 1,000 images without bucket keys,
  and next to nothing with them.
"""


def ways(arrivals: Sequence[float], stack: Stack) -> dict[str, Answered]:
    """One day, four ways; the fourth with and without VNNI."""
    return {
        "Tomodrop": batched(arrivals, stack),
        "job per image": job_per_image(arrivals, ALL_TYPES),
        "endpoint always on": endpoint(arrivals, ALL_TYPES),
        INT8: in_lambda(arrivals, INT8_PER_VCPU),
        "in Lambda, fp32": in_lambda(arrivals, FP32_PER_VCPU),
    }


_HEADS = (
    f"| way | USD per 1,000, all billed | with {BILLED_START_S:.0f} s billed | of it requests "
    "| times Tomodrop | median | 95 % | runs on |"
)


SUMMARY = """\
The aim is a fiftieth of a job per image, and the least of all for bursts of a thousand and more.
The first needs some hundred images a window: a trickle wants longer windows. The second holds, with
instance types to choose from, against a job per image, an endpoint, and Lambda where that has to do
with fp32. It does not hold where Lambda runs int8 on a processor with VNNI: that costs less than
Tomodrop here at every size, and is quicker. What is left of the difference for large bursts is
requests to S3, since the batched way keeps slices and outputs as objects.

| pattern | a job per image costs | the cheapest | the cheapest but int8 in Lambda |
|---|---|---|---|
"""


def summary(name: str, found: dict[str, Answered]) -> str:
    """The line on one pattern in the table at the top."""
    ratio = found["job per image"].usd_per_1000 / found["Tomodrop"].usd_per_1000
    costs = {way: answered.usd_per_1000 for way, answered in found.items()}
    others = {way: usd for way, usd in costs.items() if way != INT8}
    cheapest = (min(some, key=lambda way: some[way]) for some in (costs, others))
    return f"| {name} | {ratio:.0f} times as much | {' | '.join(cheapest)} |\n"


def table(name: str, found: dict[str, Answered]) -> list[str]:
    """The lines on one pattern."""
    ours = found["Tomodrop"].usd_per_1000
    lines = [
        f"## {name}",
        "",
        _HEADS,
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, answered in found.items():
        waits = sorted(answered.waits_s)
        requests = 1000 * answered.requests.usd / len(waits)
        cells = (
            way,
            f"{answered.usd_per_1000:.4f}",
            f"{answered.usd_per_1000_part_billed:.4f}",
            f"{requests:.4f}",
            f"{answered.usd_per_1000 / ours:.2f}",
            duration(waits[len(waits) // 2]),
            duration(waits[int(0.95 * len(waits))]),
            answered.used,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def duration(seconds: float) -> str:
    """In the unit that people would say it in."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def main() -> None:
    """Simulate every pattern and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"also write {OUTPUT.name}")
    given = parser.parse_args()
    told, lines = SUMMARY, []
    for name, (arrivals, stack) in PATTERNS.items():
        found = ways(arrivals, stack)
        told += summary(name, found)
        lines += table(name, found)
    text = "\n".join([TITLE, "", told, ASSUMED, *lines])
    print(text)
    if given.write:
        OUTPUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
