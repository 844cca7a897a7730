"""From a dropped image to its JSON, through the deployed stack, over HTTP only."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from local.calls import Call
from tests.e2e.conftest import Stack, keys_under, live_model, picture, results, wait_for
from tests.template.deployed import deploy
from tests.template.policies import role

pytestmark = pytest.mark.e2e

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/prediction.schema.json").read_text())


def put(stack: Stack, key: str, body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = stack.client("s3").put_object(Bucket=stack.uploads, Key=key, Body=body)
    return answer


def queue_depth(stack: Stack, output: str) -> int:
    found = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs[output], AttributeNames=["All"]
    )["Attributes"]
    return sum(
        int(found[name])
        for name in ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    )


def answered(stack: Stack, *keys: str) -> dict[str, dict[str, Any]] | None:
    """The results of these uploads by upload key, once each has one."""
    found = {document["source"]["key"]: document for document in results(stack).values()}
    return {key: found[key] for key in keys} if set(keys) <= set(found) else None


def test_each_image_gets_one_valid_json_and_a_broken_file_its_reason(stack: Stack) -> None:
    good = [f"incoming/way/a b/c+ü/{number} 肺.png" for number in range(4)]
    bad = "incoming/way/broken.png"
    for number, key in enumerate(good):
        put(stack, key, picture(100 + number))
    put(stack, bad, picture(99)[:200])

    documents = wait_for("the results", lambda: answered(stack, *good, bad))
    for key, document in documents.items():
        jsonschema_rs.validate(SCHEMA, document)
        assert document["status"] == ("rejected" if key == bad else "predicted")
    assert documents[bad]["rejection"]["code"] == "damaged_image"
    for key in good:
        # The retraining goes on meanwhile, so the live model may be another by now.
        answered_by = documents[key]["model"]["training_job"]
        job = stack.client("sagemaker").describe_training_job(TrainingJobName=answered_by)
        assert job["TrainingJobStatus"] == "Completed"
    under = [key for key in results(stack) if "/way/" in key]
    assert len(under) == len(good) + 1
    assert queue_depth(stack, "IntakeDeadLetterQueueUrl") == 0
    assert queue_depth(stack, "EventDeadLetterQueueUrl") == 0


def test_training_was_asked_for_in_pipe_mode_and_left_its_curves(stack: Stack) -> None:
    model = live_model(stack)
    assert model
    job = stack.client("sagemaker").describe_training_job(TrainingJobName=model["training_job"])
    assert job["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    assert job["HyperParameters"]["num_layers"] == "18"
    left = wait_for(
        "the decision",
        lambda: [
            key
            for key in [
                keys_under(
                    stack.client("s3"), stack.predictions, f"models/{model['training_job']}/"
                )
            ]
            if any(name.endswith("decision.json") for name in key)
        ],
    )[0]
    assert {name.rsplit("/", 1)[1] for name in left} >= {
        "accuracy.png",
        "roc.png",
        "reliability.png",
        "confusion.png",
        "model.json",
        "metrics.jsonl",
        "decision.json",
        "audit.html",
        "audit.json",
        "evaluation.json",
    }


def test_the_model_was_exported_and_is_served_by_openvino(stack: Stack) -> None:
    model = live_model(stack)
    assert model
    key = f"models/{model['training_job']}/model.json"
    body = stack.client("s3").get_object(Bucket=stack.predictions, Key=key)["Body"].read()
    serving = json.loads(body)["serving"]
    assert serving["precision"] in serving["kept"]
    assert serving["measured"][serving["precision"]]["images_per_second"] > 0


def test_repeated_and_reordered_events_give_one_json_of_the_newest_version(stack: Stack) -> None:
    key = "incoming/again/a.png"
    first, second = put(stack, key, picture(201)), put(stack, key, picture(202))
    queue = stack.outputs["IntakeQueueUrl"]
    sqs = stack.client("sqs")
    # S3 announced both already; here they come again, the older one last, three times each.
    for version, sequencer in ((second, "1"), (first, "0")) * 3:
        sqs.send_message(QueueUrl=queue, MessageBody=announcement(stack, key, version, sequencer))

    def newest() -> dict[str, Any] | None:
        found = answered(stack, key)
        if found and found[key]["source"]["version_id"] == second["VersionId"]:
            return found[key]
        return None

    wait_for("the newest version's result", newest)
    wait_for("a quiet queue", lambda: queue_depth(stack, "IntakeQueueUrl") == 0)
    assert len([name for name in results(stack) if "/again/" in name]) == 1
    document = newest()
    assert document
    jsonschema_rs.validate(SCHEMA, document)


def announcement(stack: Stack, key: str, version: dict[str, Any], sequencer: str) -> str:
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.5",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": stack.uploads},
                        "object": {
                            "key": key,
                            "size": 1,
                            "eTag": version["ETag"].strip('"'),
                            "versionId": version["VersionId"],
                            "sequencer": sequencer,
                        },
                    },
                }
            ]
        }
    )


def test_a_poisoned_object_fails_the_job_and_costs_no_neighbour(stack: Stack) -> None:
    keys = [f"incoming/poison/{number}.png" for number in range(3)]
    for number, key in enumerate(keys):
        put(stack, key, picture(300 + number))
    s3 = stack.client("s3")
    victim = wait_for("the slices", lambda: slice_of(stack, keys[0]))
    s3.put_object(Bucket=stack.work, Key=victim, Body=b"poison")

    documents = wait_for("the results", lambda: answered(stack, *keys))
    assert documents[keys[0]]["rejection"]["code"] == "no_answer"
    jsonschema_rs.validate(SCHEMA, documents[keys[0]])
    assert [documents[key]["status"] for key in keys[1:]] == ["predicted", "predicted"]
    job = documents[keys[0]]["batch"]["job"]
    described = stack.client("sagemaker").describe_transform_job(TransformJobName=job)
    assert described["TransformJobStatus"] == "Failed"
    sheets = keys_under(s3, stack.predictions, "reports/")
    assert any(name.endswith("contact-sheet.png") for name in sheets)


def slice_of(stack: Stack, key: str) -> str | None:
    """The work bucket's key of the upload's slice, once an index part names it."""
    s3 = stack.client("s3")
    for name in keys_under(s3, stack.work, "batches/"):
        if "/index/" in name:
            body = s3.get_object(Bucket=stack.work, Key=name)["Body"].read()
            for line in map(json.loads, body.splitlines()):
                if line["source"]["key"] == key:
                    return f"batches/{name.split('/')[1]}/slices/{line['slice_id']}.png"
    return None


# ---- permissions: moto enforces none, so what was called is held against the policies. The tests
# above have to have run; what they do not come to is in tests/functions/test_least_privilege.py.

# What the built-in or SageMaker itself does, and no job on one machine.
OF_SAGEMAKER = {
    "FindInputs": "jobs here list what the request names",
    "PullTheAlgorithm": "the algorithm's own programs are run, without an image",
    "SignInToTheRegistry": "as before",
    "WriteJobLogs": "logs are files",
    "PublishJobMetrics": "metrics stay in the job's record",
}


def recorded(file: Path) -> list[Call]:
    return [Call(**json.loads(line)) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("step", ["intake", "dispatch", "collect", "retrain", "promote", "sweep"])
def test_a_step_called_nothing_that_it_may_not(stack: Stack, step: str) -> None:
    granted = role(deploy(), f"{step.capitalize()}Role")
    calls = recorded(stack.state / f"logs/{step.capitalize()}Function.calls.jsonl")
    assert calls
    assert {call for call in map(str, calls) if "?" in call} == set()
    assert [call for call in calls if not granted.grants_of(call)] == []


def test_jobs_called_nothing_that_they_may_not(stack: Stack) -> None:
    granted = role(deploy(), "SageMakerRole")
    calls = recorded(stack.state / "sagemaker/calls.jsonl")
    assert [call for call in calls if not granted.grants_of(call)] == []
    used = {grant.sid for call in calls for grant in granted.grants_of(call)}
    assert granted.sids - used == OF_SAGEMAKER.keys() - used
    assert used.isdisjoint(OF_SAGEMAKER)
