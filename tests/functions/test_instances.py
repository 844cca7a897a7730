"""Which instance type a job runs on: the cheapest in time, else the quickest."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomodrop.instances import INSTANCES, Choice, choose_instance, expect, training_usd

CPU, GPU = "ml.c5.xlarge", "ml.g4dn.xlarge"
KNOWN = st.lists(st.sampled_from(sorted(INSTANCES)), min_size=1, unique=True)


def chosen(slices: int, *allowed: str, target: float = 60, count: int = 1) -> str:
    return choose_instance(slices, allowed, target, count).instance_type


@pytest.mark.parametrize(("slices", "instance_type"), [(0, CPU), (1, CPU), (1000, CPU)])
def test_a_small_window_goes_to_the_cheap_one(slices: int, instance_type: str) -> None:
    assert chosen(slices, GPU, CPU) == chosen(slices, CPU, GPU) == instance_type


@pytest.mark.parametrize("slices", [20_000, 100_000])
def test_a_large_window_goes_to_the_fast_one(slices: int) -> None:
    assert chosen(slices, GPU, CPU) == chosen(slices, CPU, GPU) == GPU


def test_the_target_itself_is_in_time_and_a_moment_less_is_not() -> None:
    minutes = expect(3000, CPU).minutes
    assert minutes is not None
    assert chosen(3000, CPU, GPU, target=minutes) == CPU
    assert chosen(3000, CPU, GPU, target=math.nextafter(minutes, 0)) == GPU


def test_where_none_is_in_time_the_quickest_is_taken_whatever_it_costs() -> None:
    assert chosen(10**6, "ml.m5.large", GPU, "ml.g5.xlarge", CPU, target=1) == "ml.g5.xlarge"


def test_of_equals_the_first_allowed_is_taken() -> None:
    assert chosen(10, "ml.c5.xlarge", "ml.c6i.xlarge") == "ml.c5.xlarge"
    assert chosen(10, "ml.c6i.xlarge", "ml.c5.xlarge") == "ml.c6i.xlarge"


def test_time_and_cost_of_a_job() -> None:
    # 330 s + 900 / 9.0 = 430 s at 0.204 $/h
    choice = expect(900, CPU)
    assert (choice.instance_type, choice.instance_count) == (CPU, 1)
    assert choice.minutes == pytest.approx(430 / 60)
    assert choice.usd == pytest.approx(430 / 3600 * 0.204)


def test_several_instances_share_the_slices_and_are_all_paid() -> None:
    choice = expect(900, CPU, 2)
    assert choice.minutes == pytest.approx(380 / 60)
    assert choice.usd == pytest.approx(380 / 3600 * 0.204 * 2)


@pytest.mark.parametrize(("seconds", "count", "usd"), [(3600, 1, 0.7364), (900, 4, 0.7364)])
def test_a_training_costs_what_is_billed_of_each_instance(
    seconds: int, count: int, usd: float
) -> None:
    used = {"InstanceType": GPU, "InstanceCount": count}
    described = {"ResourceConfig": used, "BillableTimeInSeconds": seconds}
    assert training_usd(described) == pytest.approx(usd)


def test_a_training_that_never_began_cost_nothing() -> None:
    assert training_usd({"ResourceConfig": {"InstanceType": GPU, "InstanceCount": 1}}) == 0


def test_what_a_training_on_an_unknown_type_cost_is_not_known() -> None:
    used = {"InstanceType": "ml.p9.xlarge", "InstanceCount": 1}
    assert training_usd({"ResourceConfig": used, "BillableTimeInSeconds": 3600}) is None


def test_a_single_unknown_type_is_taken_without_an_expectation() -> None:
    assert choose_instance(5, ["ml.p9.xlarge"], 60, 2) == Choice("ml.p9.xlarge", 2, None, None)


def test_beside_known_ones_an_unknown_type_is_not_taken() -> None:
    assert chosen(5, "ml.p9.xlarge", GPU) == GPU


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no instance type"):
        choose_instance(5, [], 60)


@given(st.integers(0, 200_000), KNOWN, st.floats(0.1, 10_000), st.integers(1, 5))
def test_no_other_allowed_type_would_have_been_better(
    slices: int, allowed: list[str], target: float, count: int
) -> None:
    choice = choose_instance(slices, allowed, target, count)
    assert choice.instance_type in allowed
    assert choice.minutes is not None
    assert choice.usd is not None
    for name in allowed:
        other = expect(slices, name, count)
        assert other.minutes is not None
        assert other.usd is not None
        if choice.minutes <= target:
            assert other.minutes > target or other.usd >= choice.usd
        else:
            assert other.minutes >= choice.minutes


@given(KNOWN, st.floats(1, 10_000))
def test_a_larger_window_never_takes_less_time(allowed: list[str], target: float) -> None:
    small, large = (expect(slices, allowed[0]) for slices in (10, 1000))
    assert small.minutes is not None
    assert large.minutes is not None
    assert small.minutes < large.minutes
