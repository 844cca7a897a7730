"""The life of a training job as values: request → record → next record. No clock, no I/O."""

from typing import Any, Literal

from local.sagemaker.records import Json, Record
from local.sagemaker.settings import DEFAULT_MAX_RUNTIME_S, MAX_FAILURE_REASON, Identity

Secondary = Literal[
    "Starting",
    "Downloading",
    "Training",
    "Interrupted",
    "Uploading",
    "Stopping",
    "Completed",
    "Failed",
    "Stopped",
    "MaxRuntimeExceeded",
]
MESSAGES: dict[Secondary, str] = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Training was interrupted and will start again from its checkpoints",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}
PRIMARY: dict[Secondary, str] = {
    "Stopping": "Stopping",
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
}
ENDED = ("Completed", "Failed", "Stopped")
NOT_DESCRIBED = ("Tags", "SessionChainingConfig")
# Built-in algorithms bring metric definitions of their own; requests for them carry none.
BUILT_IN_REPOSITORY = "/image-classification:"
BUILT_IN_METRICS = [
    {"Name": "train:accuracy", "Regex": r"Train-accuracy=([0-9.]+)"},
    {"Name": "validation:accuracy", "Regex": r"Validation-accuracy=([0-9.]+)"},
]


def new_training_job(request: Json, identity: Identity, now: float) -> Record:
    """The record of a job that was just accepted."""
    name = request["TrainingJobName"]
    arn = identity.arn("training-job", name)
    described = {key: value for key, value in request.items() if key not in NOT_DESCRIBED}
    described["AlgorithmSpecification"] = _with_metrics(request["AlgorithmSpecification"])
    described["StoppingCondition"] = {
        "MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME_S,
        **request.get("StoppingCondition", {}),
    }
    record = Record(
        kind="training-job",
        name=name,
        arn=arn,
        description={**described, "TrainingJobArn": arn, "CreationTime": now},
        modified=now,
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
    )
    return enter(record, "Starting", now)


def _with_metrics(algorithm: Json) -> Json:
    if BUILT_IN_REPOSITORY not in algorithm.get("TrainingImage", ""):
        return algorithm
    return {"MetricDefinitions": BUILT_IN_METRICS, **algorithm}


def enter(record: Record, secondary: Secondary, now: float, message: str = "") -> Record:
    """The record in its next secondary status, the one before it closed."""
    before = record.description.get("SecondaryStatusTransitions", [])
    closed = [*before[:-1], *({**last, "EndTime": now} for last in before[-1:])]
    opened = {
        "Status": secondary,
        "StartTime": now,
        "StatusMessage": message or MESSAGES[secondary],
    }
    started = record.description.get("TrainingStartTime")
    if started is None and secondary == "Downloading":
        started = now
    return record.describing(
        now,
        TrainingJobStatus=PRIMARY.get(secondary, "InProgress"),
        SecondaryStatus=secondary,
        SecondaryStatusTransitions=[*closed, opened],
        TrainingStartTime=started,
        LastModifiedTime=now,
    )


def advance(record: Record, secondary: Secondary, now: float) -> Record:
    """As `enter`, but a job that was told to stop stays Stopping until it ended."""
    return record if status_of(record) == "Stopping" else enter(record, secondary, now)


def end(
    record: Record,
    secondary: Secondary,
    now: float,
    *,
    failure_reason: str | None = None,
    artifacts: str | None = None,
    metrics: list[Json] | None = None,
) -> Record:
    """The record of an ended job."""
    ended = enter(record, secondary, now, failure_reason or "")
    *before, last = ended.description["SecondaryStatusTransitions"]
    started = record.description.get("TrainingStartTime", now)
    seconds = max(1, round(now - started))
    return ended.describing(
        now,
        SecondaryStatusTransitions=[*before, {**last, "EndTime": now}],
        TrainingEndTime=now,
        TrainingTimeInSeconds=seconds,
        BillableTimeInSeconds=seconds,
        FailureReason=failure_reason and failure_reason[:MAX_FAILURE_REASON],
        ModelArtifacts=artifacts and {"S3ModelArtifacts": artifacts},
        FinalMetricDataList=metrics or None,
    )


def status_of(record: Record) -> str:
    """The primary status."""
    return str(record.description["TrainingJobStatus"])


def instances_of(record: Record) -> int:
    """Instances the job holds while it runs."""
    return int(record.description["ResourceConfig"]["InstanceCount"])


def max_runtime_s(record: Record) -> float:
    """Seconds after which the job is stopped."""
    return float(record.description["StoppingCondition"]["MaxRuntimeInSeconds"])


def output_uri(record: Record, file_name: str) -> str:
    """Where an artefact of this job goes."""
    root = str(record.description["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    return f"{root}/{record.name}/output/{file_name}"


def summary(record: Record) -> Json:
    """The entry in ListTrainingJobs."""
    fields = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return _picked(record.description, fields)


def event_detail(record: Record) -> Json:
    """The `detail` of the state-change event, times still in seconds."""
    fields = (
        "TrainingJobName",
        "TrainingJobArn",
        "TrainingJobStatus",
        "SecondaryStatus",
        "FailureReason",
        "HyperParameters",
        "AlgorithmSpecification",
        "RoleArn",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "VpcConfig",
        "StoppingCondition",
        "CreationTime",
        "TrainingStartTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "SecondaryStatusTransitions",
    )
    return {**_picked(record.description, fields), "Tags": record.tags}


def _picked(description: Json, fields: tuple[str, ...]) -> dict[str, Any]:
    return {field: description[field] for field in fields if field in description}
