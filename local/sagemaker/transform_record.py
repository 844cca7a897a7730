"""The life of a transform job as values: request → record → next record. No clock, no I/O."""

from local.sagemaker.records import Json, Record
from local.sagemaker.settings import MAX_FAILURE_REASON, Identity

ENDED = ("Completed", "Failed", "Stopped")
BYTES_PER_MB = 1024 * 1024
DEFAULT_PAYLOAD_MB = 6
DEFAULT_INVOCATION_TIMEOUT_S = 600
DEFAULT_INVOCATION_RETRIES = 3


def new_transform_job(request: Json, container: Json, identity: Identity, now: float) -> Record:
    """The record of a job that was just accepted.

    The model's container goes into the notes: the model may be deleted while the job runs.
    """
    name = request["TransformJobName"]
    arn = identity.arn("transform-job", name)
    described = {key: value for key, value in request.items() if key != "Tags"}
    return Record(
        kind="transform-job",
        name=name,
        arn=arn,
        description={
            **described,
            "TransformJobArn": arn,
            "TransformJobStatus": "InProgress",
            "CreationTime": now,
        },
        modified=now,
        notes={"container": container},
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
    )


def start(record: Record, now: float) -> Record:
    """The record once the instance is there. A second run keeps the first one's start."""
    begun = record.description.get("TransformStartTime", now)
    runs = record.notes.get("runs", 0) + 1
    return record.describing(now, TransformStartTime=begun).noting(runs=runs)


def stopping(record: Record, now: float) -> Record:
    """The record after StopTransformJob."""
    return record.describing(now, TransformJobStatus="Stopping")


def end(record: Record, status: str, now: float, failure_reason: str | None = None) -> Record:
    """The record of an ended job; `status` is one of ENDED."""
    return record.describing(
        now,
        TransformJobStatus=status,
        TransformEndTime=now,
        FailureReason=failure_reason and failure_reason[:MAX_FAILURE_REASON],
    )


def status_of(record: Record) -> str:
    """The status."""
    return str(record.description["TransformJobStatus"])


def instances_of(record: Record) -> int:
    """Instances the job holds while it runs."""
    return int(record.description["TransformResources"]["InstanceCount"])


def environment(record: Record) -> dict[str, str]:
    """What the serving container sees of the job; the request's own variables win.

    Limits are told to the container only when the caller set them.
    """
    description, container = record.description, record.notes["container"]
    limits = {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": description.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": {
            "SingleRecord": "SINGLE_RECORD",
            "MultiRecord": "MULTI_RECORD",
        }.get(description.get("BatchStrategy", "")),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": description.get("MaxConcurrentTransforms"),
    }
    return {
        "SAGEMAKER_BATCH": "true",
        **{name: str(value) for name, value in limits.items() if value is not None},
        **container.get("Environment", {}),
        **description.get("Environment", {}),
    }


def summary(record: Record) -> Json:
    """The entry in ListTransformJobs."""
    fields = (
        "TransformJobName",
        "TransformJobArn",
        "CreationTime",
        "TransformEndTime",
        "TransformJobStatus",
        "FailureReason",
    )
    picked = {field: record.description[field] for field in fields if field in record.description}
    return {**picked, "LastModifiedTime": record.modified}


def event_detail(record: Record) -> Json:
    """The `detail` of the state-change event, times still in seconds."""
    fields = (
        "TransformJobName",
        "TransformJobArn",
        "TransformJobStatus",
        "FailureReason",
        "ModelName",
        "MaxConcurrentTransforms",
        "MaxPayloadInMB",
        "BatchStrategy",
        "Environment",
        "TransformInput",
        "TransformOutput",
        "TransformResources",
        "CreationTime",
        "TransformStartTime",
        "TransformEndTime",
    )
    picked = {field: record.description[field] for field in fields if field in record.description}
    return {"Environment": {}, **picked, "Tags": record.tags}
