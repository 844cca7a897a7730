"""Step 3, woken by the end of a transform job: its answers become the users' JSON."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.collecting import collect
from tomodrop.events import parse_transform_event

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int] | None:
    """Publish the job's results and move its part on."""
    ended = parse_transform_event(event)
    done = collect(app(), ended)
    failed = done is not None and ended.status != "Completed"
    metrics.add_metric("TransformJobs_collected", MetricUnit.Count, int(done is not None))
    metrics.add_metric("TransformJobs_failed", MetricUnit.Count, int(failed))
    for outcome, count in vars(done).items() if done else ():
        metrics.add_metric(f"Results_{outcome}", MetricUnit.Count, count)
    return vars(done) if done else None
