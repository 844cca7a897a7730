"""Step 4, woken by a schedule: the labelled set becomes a Pipe-mode training job."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.events import parse_schedule_event
from tomodrop.retraining import retrain

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, str | None]:
    """Start a training job, named after the schedule's time, if anything is new."""
    job = retrain(app(), parse_schedule_event(event))
    metrics.add_metric("TrainingJobs_made", MetricUnit.Count, int(job is not None))
    return {"training_job": job}
