"""Step 6, woken by a schedule: what got stuck is set going again."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.events import parse_schedule_event
from tomodrop.sweeping import sweep

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Compare uploads with results, and jobs with what was heard of them."""
    parse_schedule_event(event)
    done = sweep(app(), datetime.now(UTC))
    for what, count in vars(done).items():
        metrics.add_metric(f"Sweep_{what}", MetricUnit.Count, count)
    return vars(done)
