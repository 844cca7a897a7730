"""Step 6, woken by a schedule: what got stuck is set going again."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.drift_watch import watch_drift
from tomodrop.events import parse_schedule_event
from tomodrop.sweeping import metrics_of, sweep

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Compare uploads with results, and jobs with what was heard of them."""
    parse_schedule_event(event)
    now = datetime.now(UTC)
    done = sweep(app(), now, lambda: context.get_remaining_time_in_millis() / 1000)
    for metric in metrics_of(done):
        metrics.add_metric(*metric)
    drift = watch_drift(app(), now)
    for metric in drift.metrics if drift else []:
        metrics.add_metric(*metric)
    return vars(done)
