"""Trainings that ended, and the jobs that score their models: where promote comes in.

The held-out set is 20 slices in 10 groups. A model answers all but so many of them rightly.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from moto.sns.models import sns_backends

from tests.functions.builders import ACCOUNT, ENVIRONMENT, job_becomes
from tests.functions.test_training_request import WHOLE
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.held_out import HeldOutSlice
from tomodrop.imaging.version import NORMALISER
from tomodrop.keys import EvaluationName, parse_evaluation_name
from tomodrop.promotion import promote

JOB = "tomodrop-train-20261122T030000Z"
NEXT_JOB = "tomodrop-train-20261129T030000Z"
CREATED = datetime(2026, 11, 22, 3, 0, 2, tzinfo=UTC)
RECORD = {
    "training_job": JOB,
    "classes": ["non_covid", "covid"],
    "normaliser": NORMALISER,
    "image_shape": [3, 64, 64],
    "fingerprint": "f" * 64,
    "slices": {"train": {"non_covid": 3, "covid": 4}, "validation": {"non_covid": 10, "covid": 10}},
}
HELD_OUT = [HeldOutSlice(f"{n:032d}-00000", n % 2, f"group{n // 2 % 10}") for n in range(20)]
Wrong = Mapping[str, int]


def artifacts(job: str = JOB) -> dict[str, str]:
    return {
        "S3ModelArtifacts": f"s3://tomodrop-work-123456789012/training/{job}/output/model.tar.gz"
    }


def accuracy(value: float) -> list[dict[str, Any]]:
    return [
        {"MetricName": "train:accuracy", "Value": 0.99, "Timestamp": CREATED},
        {"MetricName": "validation:accuracy", "Value": value, "Timestamp": CREATED},
    ]


def train(
    stack: App, status: str = "Completed", job: str = JOB, created: datetime = CREATED
) -> None:
    """A training job of ours that came to such an end."""
    stack.sagemaker.create_training_job(**WHOLE | {"TrainingJobName": job})
    end(job, status, created)
    record(stack, job)
    hold_out(stack, HELD_OUT, job)


def end(job: str = JOB, status: str = "Completed", created: datetime = CREATED) -> None:
    """A training job that was made comes to such an end."""
    job_becomes(
        job,
        training_job_status=status,
        final_metric_data_list=accuracy(0.93),
        creation_time=created,
        model_artifacts=artifacts(job),
    )


def record(stack: App, job: str = JOB, **changes: Any) -> None:
    body = json.dumps(RECORD | {"training_job": job} | changes).encode()
    key = f"training/{job}/job.json"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/json")


def hold_out(stack: App, slices: list[HeldOutSlice], job: str = JOB) -> None:
    body = "".join(json.dumps(vars(one)) + "\n" for one in slices).encode()
    key = f"training/{job}/held_out.jsonl"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/jsonl")


def evaluations(stack: App) -> list[EvaluationName]:
    """The evaluation jobs that were made, in the order of their names."""
    found = stack.sagemaker.list_transform_jobs()["TransformJobSummaries"]
    names = sorted(job["TransformJobName"] for job in found)
    return [parse_evaluation_name(name, "tomodrop") for name in names if "-eval-" in name]


def manifest_of(stack: App, job: EvaluationName) -> list[Any]:
    body = objects.read(stack.s3, stack.settings.work_bucket, keys.job_manifest(job))
    entries: list[Any] = json.loads(body)
    return entries


@contextmanager
def running_until_answered(stack: App) -> Iterator[None]:
    """Transform jobs run until `answer`; moto's end at once."""

    def hook(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["made"] = json.loads(params["body"])["TransformJobName"]

    def made(context: dict[str, Any], parsed: dict[str, Any], **_: Any) -> None:
        if "Error" not in parsed:
            job_becomes(context["made"], transform_job_status="InProgress")

    events = stack.sagemaker.meta.events
    events.register("before-call.sagemaker.CreateTransformJob", hook)
    events.register("after-call.sagemaker.CreateTransformJob", made)
    try:
        yield
    finally:
        events.unregister("before-call.sagemaker.CreateTransformJob", hook)
        events.unregister("after-call.sagemaker.CreateTransformJob", made)


def answer(stack: App, wrong: Wrong | None = None, only: int = len(HELD_OUT)) -> None:
    """Let every evaluation job that runs end, with the first so many answers wrong, or some less.

    `wrong`: by role. `only`: how many slices of the job's manifest are answered.
    """
    labels = {one.slice_id: (place, one.label) for place, one in enumerate(HELD_OUT)}
    for job in evaluations(stack):
        described = stack.sagemaker.describe_transform_job(TransformJobName=str(job))
        if described["TransformJobStatus"] != "InProgress":
            continue
        job_becomes(str(job), transform_job_status="Completed")
        for entry in manifest_of(stack, job)[1 : only + 1]:
            place, label = labels[entry.removesuffix(".png")]
            is_right = place >= (wrong or {}).get(job.role, 1)
            put_output(stack, job, entry, b"[0.1, 0.9]" if label == is_right else b"[0.9, 0.1]")


def put_output(stack: App, job: EvaluationName, entry: str, body: bytes) -> None:
    key = f"{keys.job_outputs(job)}{entry}.out"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/jsonlines")


def decide(stack: App, job: str = JOB, **wrong: int) -> dict[str, Any]:
    """From the end of a training to the decision; `wrong`: by role, how many answers are."""
    assert promote(stack, job) is None
    answer(stack, wrong)
    decision = promote(stack, job)
    assert decision is not None
    return decision


def stored(stack: App, name: str = "decision.json", job: str = JOB) -> dict[str, Any]:
    bucket = stack.settings.predictions_bucket
    found: dict[str, Any] = json.loads(objects.read(stack.s3, bucket, f"models/{job}/{name}"))
    return found


def models(stack: App) -> list[str]:
    return [model["ModelName"] for model in stack.sagemaker.list_models()["Models"]]


def notices() -> list[tuple[str, dict[str, Any]]]:
    """Subject and message of every notice that was sent."""
    topic = sns_backends[ACCOUNT]["us-east-1"].topics[ENVIRONMENT["NOTICES_TOPIC_ARN"]]
    return [(sent[2] or "", json.loads(sent[1])) for sent in topic.sent_notifications]
