"""Step 2, woken by a schedule: settled windows become transform jobs."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.dispatching import dispatch
from tomodrop.events import parse_schedule_event

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Plan and submit. The windows' clock is this function's own, not the schedule's."""
    parse_schedule_event(event)
    done = dispatch(app(), datetime.now(UTC))
    metrics.add_metric("TransformJobs_made", MetricUnit.Count, done.jobs)
    metrics.add_metric("Parts_waiting", MetricUnit.Count, done.waiting)
    return vars(done)
