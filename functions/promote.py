"""Step 5, woken by the end of a training job: a good model becomes the live one."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.events import parse_training_event
from tomodrop.promotion import promote

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Decide on the model, and put the decision where people look."""
    decision = promote(app(), parse_training_event(event).name)
    metrics.add_metric("TrainingJobs_decided", MetricUnit.Count, int(decision is not None))
    if decision:
        metrics.add_metric(f"Models_{decision['decision']}", MetricUnit.Count, 1)
    return decision
