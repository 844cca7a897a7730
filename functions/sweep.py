"""Step 6, woken by a schedule: what got stuck is set going again. Asked to, it audits."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.auditing import go_on_with_audit, take_receipt
from tomodrop.clients import app
from tomodrop.drift_watch import watch_drift
from tomodrop.events import asks_for_audit, parse_schedule_event
from tomodrop.sweeping import metrics_of, sweep

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Compare uploads with results, and jobs with what was heard of them."""

    def left_s() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if asks_for_audit(event):
        receipt = take_receipt(app(), datetime.now(UTC), left_s)
        metrics.add_metric("Audit_faults", MetricUnit.Count, len(receipt.get("faults", [])))
        return receipt
    parse_schedule_event(event)
    now = datetime.now(UTC)
    done = sweep(app(), now, left_s)
    for metric in metrics_of(done):
        metrics.add_metric(*metric)
    drift = watch_drift(app(), now)
    for metric in drift.metrics if drift else []:
        metrics.add_metric(*metric)
    go_on_with_audit(app(), now, left_s)
    return vars(done)
