"""Step 5, woken by the ends of trainings and evaluations: a good model becomes the live one."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.events import RollbackAsked, parse_promote_event
from tomodrop.keys import training_job_of
from tomodrop.promotion import promote
from tomodrop.rollback import roll_back

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any] | None:
    """Go on with the decision on a training, or go back to an earlier model; a decision if made."""
    asked = parse_promote_event(event)
    if isinstance(asked, RollbackAsked):
        decision = roll_back(app(), asked.training_job)
        metrics.add_metric("Models_rolled_back", MetricUnit.Count, int(decision is not None))
        return decision
    decision = promote(app(), training_job_of(asked.name, app().settings.job_name_prefix))
    metrics.add_metric("TrainingJobs_decided", MetricUnit.Count, int(decision is not None))
    if decision:
        metrics.add_metric(f"Models_{decision['decision']}", MetricUnit.Count, 1)
        # Under dispatch's name: the alarm is on the sum of both.
        metrics.add_metric("Jobs_usd", MetricUnit.NoUnit, decision["training_usd"] or 0.0)
    return decision
