"""Step 2, woken by a schedule: settled windows become transform jobs."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.dispatching import dispatch
from tomodrop.events import parse_schedule_event
from tomodrop.live_model import age_of_live_model_days

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int | float]:
    """Plan and submit. The windows' clock is this function's own, not the schedule's."""
    parse_schedule_event(event)
    now = datetime.now(UTC)
    done = dispatch(app(), now)
    metrics.add_metric("TransformJobs_made", MetricUnit.Count, done.jobs)
    metrics.add_metric("Jobs_usd", MetricUnit.NoUnit, done.expected_usd)
    metrics.add_metric("Parts_waiting", MetricUnit.Count, done.waiting)
    metrics.add_metric("Slices_waiting", MetricUnit.Count, done.slices_waiting)
    age_days = age_of_live_model_days(app(), now)
    metrics.add_metric("LiveModel_missing", MetricUnit.Count, int(age_days is None))
    if age_days is not None:
        metrics.add_metric("LiveModel_age_days", MetricUnit.NoUnit, age_days)
    return vars(done)
