"""Step 1, woken by SQS: uploads become normalised slices in the current window's batch."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from tomodrop.clients import app
from tomodrop.decoding import sandbox
from tomodrop.events import parse_s3_message
from tomodrop.uploads import Intake

logger, tracer, metrics = Logger(), Tracer(), Metrics()


@metrics.log_metrics
@tracer.capture_lambda_handler(capture_response=False)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take in every upload of the messages; a message that fails comes back, the others do not."""
    intake = Intake(app(), datetime.now(UTC), sandbox())
    tracer.put_annotation("batch", intake.batch)

    def take_in(record: SQSRecord) -> None:
        for upload in parse_s3_message(record.body):
            outcome = intake.take_in(upload)
            metrics.add_metric(f"Uploads_{outcome}", MetricUnit.Count, 1)

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(records=event["Records"], handler=take_in):
        processor.process()
    slices = intake.write_index()
    metrics.add_metric("Slices_named", MetricUnit.Count, slices)
    logger.info("taken in", extra={"batch": intake.batch, "slices": slices})
    return dict(processor.response())
