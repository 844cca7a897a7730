"""Which instance type a transform job runs on, and what jobs cost: one table, and one pure choice.

What a job takes is estimated as start-up + slices / speed, and what it costs as that time at the
hourly price. SageMaker bills from the start of the transform on, which is somewhere within our
start-up, so the cost is an upper bound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Before the first answer 3 to 8 minutes were seen (public reports of Batch Transform users; none
# measured by us): the middle.
_START_UP_S = 330.0
# Measured, 2026-11: ResNet-152 at 224 px, OpenVINO int8 on 2 cores (EPYC with AVX512-VNNI),
# 9.0 images/s. A vCPU is half a core, so the others are estimates: 2.25 images/s for each.
_PER_VCPU = 9.0 / 4
# Estimate: a T4 does ResNet-50 at 1,198 images/s in large batches (timm's tables, AMP), ResNet-152
# at 530; a job sends 16 at a time at most, so half of that.
_T4 = 265.0


@dataclass(frozen=True)
class Instance:
    """One instance type.

    `images_per_s`: ResNet-152 at 224 px served by our own algorithm, int8 on CPUs; smaller networks
    are faster. `start_up_s`: from CreateTransformJob to the first answer. `usd_per_hour`: SageMaker
    on demand in us-east-1; look yours up at https://aws.amazon.com/sagemaker/pricing/.
    """

    images_per_s: float
    start_up_s: float
    usd_per_hour: float


# All speeds are estimates, see above. All prices, 2026-11: agreement of several public price tables
# in code, where the price page itself was not read; c6i has fewer of them than the others.
INSTANCES = {
    "ml.m5.large": Instance(2 * _PER_VCPU, _START_UP_S, 0.115),
    "ml.m5.xlarge": Instance(4 * _PER_VCPU, _START_UP_S, 0.23),
    "ml.m5.2xlarge": Instance(8 * _PER_VCPU, _START_UP_S, 0.461),
    "ml.c5.xlarge": Instance(4 * _PER_VCPU, _START_UP_S, 0.204),
    "ml.c5.2xlarge": Instance(8 * _PER_VCPU, _START_UP_S, 0.408),
    "ml.c6i.xlarge": Instance(4 * _PER_VCPU, _START_UP_S, 0.204),
    "ml.g4dn.xlarge": Instance(_T4, _START_UP_S, 0.7364),
    # An A10G has 1.9 times the arithmetic and the bandwidth of a T4 (NVIDIA's data sheets).
    "ml.g5.xlarge": Instance(1.9 * _T4, _START_UP_S, 1.408),
}


@dataclass(frozen=True)
class Choice:
    """The instance type for a job, and the minutes and US dollars that the job is expected to take.

    Both are None for a type that the table does not know.
    """

    instance_type: str
    instance_count: int
    minutes: float | None
    usd: float | None


def choose_instance(
    slices: int, allowed: Sequence[str], target_minutes: float, instance_count: int = 1
) -> Choice:
    """The cheapest that ends within the target, else the quickest.

    Of equals the first allowed is taken. A type that the table does not know is taken only where
    there is no other.

    Raises
    ------
    ValueError
        Nothing is allowed.
    """
    if not allowed:
        message = "no instance type is allowed for transform jobs"
        raise ValueError(message)
    known = [name for name in allowed if name in INSTANCES]
    if not known:
        return expect(slices, allowed[0], instance_count)
    choices = [expect(slices, name, instance_count) for name in known]
    in_time = [one for one in choices if _minutes(one) <= target_minutes]
    if in_time:
        return min(in_time, key=lambda one: (_usd(one), _minutes(one)))
    return min(choices, key=lambda one: (_minutes(one), _usd(one)))


def expect(slices: int, instance_type: str, instance_count: int = 1) -> Choice:
    """What a job of so many slices takes on a given type. Each instance gets an equal share."""
    instance = INSTANCES.get(instance_type)
    if instance is None:
        return Choice(instance_type, instance_count, None, None)
    seconds = instance.start_up_s + slices / (instance.images_per_s * instance_count)
    usd = seconds / 3600 * instance.usd_per_hour * instance_count
    return Choice(instance_type, instance_count, seconds / 60, usd)


def training_usd(described: Mapping[str, Any]) -> float | None:
    """US dollars that a training that ended cost, by what DescribeTrainingJob says of it.

    Billed are the seconds of each instance, without those that Spot capacity spared. None for a
    type that the table does not know.
    """
    used = described["ResourceConfig"]
    instance = INSTANCES.get(used["InstanceType"])
    if instance is None:
        return None
    seconds = described.get("BillableTimeInSeconds", 0)  # absent where it never began
    return float(seconds / 3600 * instance.usd_per_hour * used["InstanceCount"])


def _minutes(choice: Choice) -> float:
    return float("inf") if choice.minutes is None else choice.minutes


def _usd(choice: Choice) -> float:
    return float("inf") if choice.usd is None else choice.usd
