"""The simulation of benchmarks/cost.py: nobody is forgotten, quotas hold, sums are as said."""

import pytest

from benchmarks.cost import CHOOSING, burst, duration, steady, summary, ways
from benchmarks.cost_prices import S3_PUT, of_batches
from benchmarks.cost_ways import (
    BILLED_START_S,
    COLD_START_S,
    LAMBDA_CONCURRENCY,
    QUOTAS,
    Stack,
    batched,
    billed,
    endpoint,
    in_lambda,
    job_per_image,
)
from tomodrop.instances import INSTANCES

G4DN = ("ml.g4dn.xlarge",)


def test_a_window_goes_to_one_job_after_it_has_settled() -> None:
    answered = batched([10.0, 20.0, 290.0], Stack())
    # The window ends at 300 s, is settled at 361 s and found by dispatch at 420 s.
    done = 420 + INSTANCES["ml.g4dn.xlarge"].start_up_s
    assert answered.used == "1 x g4dn.xlarge"
    assert answered.waits_s == [pytest.approx(done - at, abs=0.1) for at in (10, 20, 290)]
    assert answered.usd_model[0] == pytest.approx(billed(3, "ml.g4dn.xlarge", None))
    assert answered.usd_model[1] == pytest.approx(billed(3, "ml.g4dn.xlarge", BILLED_START_S))


def test_every_image_is_answered_and_none_before_its_job_can_have_begun() -> None:
    arrivals = steady(500)
    answered = batched(arrivals, CHOOSING)
    assert len(answered.waits_s) == 500
    assert min(answered.waits_s) > 60 + INSTANCES["ml.m5.large"].start_up_s


def test_a_large_window_becomes_several_jobs_that_wait_for_quota() -> None:
    jobs = QUOTAS["ml.g4dn.xlarge"] + 1
    answered = batched(burst(jobs * 10), Stack(max_slices_per_job=10))
    assert answered.used == f"{jobs} x g4dn.xlarge"
    start_s = INSTANCES["ml.g4dn.xlarge"].start_up_s
    first = min(answered.waits_s)
    assert sum(wait > first + start_s / 2 for wait in answered.waits_s) == 10


def test_a_job_per_image_waits_for_quota_as_well() -> None:
    quota = QUOTAS["ml.g4dn.xlarge"]
    answered = job_per_image([0.0] * (2 * quota), G4DN)
    first, second = answered.waits_s[0], answered.waits_s[-1]
    assert second == pytest.approx(2 * first)


def test_an_endpoint_is_as_large_as_its_busiest_hour_needs() -> None:
    rate = INSTANCES["ml.g4dn.xlarge"].images_per_s
    busy = [at / rate for at in range(int(3600 * rate))]
    assert endpoint(busy, G4DN).used == "2 x g4dn.xlarge"
    assert endpoint([0.0], G4DN).usd_model[0] == pytest.approx(24 * 0.7364)


def test_in_lambda_the_first_images_wait_for_cold_starts() -> None:
    answered = in_lambda([0.0] * 50 + [1000.0], images_per_vcpu_s=1.0)
    assert answered.used == f"{LAMBDA_CONCURRENCY + 1} cold starts"
    assert answered.waits_s[0] == pytest.approx(COLD_START_S + 0.5)
    assert answered.waits_s[LAMBDA_CONCURRENCY] == pytest.approx(COLD_START_S + 1.0)
    warm = in_lambda([0.0, 60.0, 120.0], images_per_vcpu_s=1.0)
    assert warm.used == "1 cold starts"


def test_puts_are_most_of_what_requests_cost() -> None:
    plain, multipart = (
        of_batches(1_000_000, 1, 1, ticks=0, multipart=multipart).usd for multipart in (False, True)
    )
    assert multipart - plain == pytest.approx(2e6 * S3_PUT)
    assert 3.1e6 * S3_PUT < plain < 4.5e6 * S3_PUT


def test_a_burst_of_a_thousand_costs_a_fiftieth_of_a_job_per_image() -> None:
    found = ways(burst(1_000), CHOOSING)
    ours = found["Tomodrop"].usd_per_1000
    assert found["job per image"].usd_per_1000 / ours > 50
    assert found["endpoint always on"].usd_per_1000 / ours > 1
    assert found["in Lambda, fp32"].usd_per_1000 / ours > 1
    assert summary("x", found).endswith("| in Lambda, int8 with VNNI | Tomodrop |\n")


@pytest.mark.parametrize(
    ("seconds", "said"), [(1.25, "1.2 s"), (119, "119.0 s"), (600, "10.0 min"), (2e5, "2.3 d")]
)
def test_times_are_said_in_their_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
