"""Training jobs, from CreateTrainingJob to the artefacts in S3, with real programs and FIFOs."""

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from local.sagemaker import Programs, Quotas
from tests.local.sagemaker.support import (
    Bucket,
    Platform,
    augmented_channel,
    training_request,
    until,
)
from training.algorithm.records import read_records, write_record


def put_labelled(bucket: Bucket, count: int, name: str = "train") -> str:
    """Slices and the manifest that labels slice n with n."""
    lines = [
        json.dumps({"source-ref": bucket.put(f"slices/{n}.png", f"image {n}"), "class": str(n)})
        for n in range(count)
    ]
    return bucket.put(f"{name}.manifest", "\n".join(lines) + "\n")


def records_of(model: dict[str, bytes], fifo: str) -> list[tuple[bytes, bytes]]:
    records = list(read_records(io.BytesIO(model[fifo])))
    return list(zip(records[::2], records[1::2], strict=True))


def test_a_completed_job_leaves_its_model_and_output_in_s3(
    platform: Platform, bucket: Bucket
) -> None:
    channels = [
        augmented_channel(put_labelled(bucket, 3)),
        augmented_channel(put_labelled(bucket, 1, "validation"), "validation"),
    ]
    platform.train(
        bucket,
        InputDataConfig=channels,
        hyperparameters={"reads": "train_0 validation_0", "epochs": "1"},
        Environment={"TOMODROP_CLASSES": '["a"]'},
    )

    job = platform.trained()

    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed", job
    address = bucket.uri("training/job/output/model.tar.gz")
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": address}
    model = bucket.archive("training/job/output/model.tar.gz")
    assert records_of(model, "train_0") == [
        (b"image 0", b"0"),
        (b"image 1", b"1"),
        (b"image 2", b"2"),
    ]
    assert records_of(model, "validation_0") == [(b"image 0", b"0")]
    output = bucket.archive("training/job/output/output.tar.gz")
    config = json.loads(output["config.json"])
    assert config["hyperparameters.json"] == {"reads": "train_0 validation_0", "epochs": "1"}
    assert config["inputdataconfig.json"]["train"] == {
        "ContentType": "application/x-recordio",
        "TrainingInputMode": "Pipe",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "RecordIO",
    }
    assert config["resourceconfig.json"]["hosts"] == ["algo-1"]
    assert "checkpointconfig.json" not in config


def test_the_program_sees_only_what_a_container_would(
    platform: Platform, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("OURS", "1")
    platform.train(bucket, Environment={"TOMODROP_NORMALISER": "1"})
    arn = platform.trained()["TrainingJobArn"]

    output = bucket.archive("training/job/output/output.tar.gz")
    seen = json.loads(output["environment.json"])

    assert seen.pop("SAGEMAKER_BASE_DIR").endswith("/training/job/opt/ml")
    assert {key: value for key, value in seen.items() if key.startswith(("AWS", "TRAINING"))} == {
        "AWS_REGION": "us-east-1",
        "TRAINING_JOB_NAME": "job",
        "TRAINING_JOB_ARN": arn,
    }
    assert seen["TOMODROP_NORMALISER"] == "1"
    assert "OURS" not in seen


def test_statuses_times_and_events_follow_each_other(platform: Platform, bucket: Bucket) -> None:
    platform.train(bucket)
    job = platform.trained()

    stages = ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    transitions = job["SecondaryStatusTransitions"]
    assert [stage["Status"] for stage in transitions] == stages
    assert all(stage["StartTime"] <= stage["EndTime"] for stage in transitions)
    assert job["CreationTime"] <= job["TrainingStartTime"] <= job["TrainingEndTime"]
    assert job["BillableTimeInSeconds"] >= 1
    assert platform.announced("Completed") == stages


def test_epochs_are_reshuffled_from_the_seed_and_can_be_replayed(
    platform: Platform, bucket: Bucket
) -> None:
    channel = augmented_channel(put_labelled(bucket, 12), ShuffleConfig={"Seed": 7})
    orders = []
    for name in ("first", "second"):
        platform.train(
            bucket, name, InputDataConfig=[channel], hyperparameters={"reads": "train_0 train_1"}
        )
        assert platform.trained(name)["TrainingJobStatus"] == "Completed"
        model = bucket.archive(f"training/{name}/output/model.tar.gz")
        orders.append([records_of(model, f"train_{epoch}") for epoch in (0, 1)])

    (epoch_0, epoch_1), replayed = orders
    assert replayed == [epoch_0, epoch_1]
    assert epoch_0 != epoch_1
    assert sorted(epoch_0) == sorted(epoch_1)
    assert all(image == b"image " + label for image, label in epoch_0)


def test_a_reader_that_closes_early_gets_the_next_epoch_whole(
    platform: Platform, bucket: Bucket
) -> None:
    bucket.put("slices/large.png", b"x" * 3_000_000)
    line = json.dumps({"source-ref": bucket.uri("slices/large.png"), "class": 0})
    uri = bucket.put("large.manifest", f"{line}\n{line}\n")
    platform.train(
        bucket,
        InputDataConfig=[augmented_channel(uri)],
        hyperparameters={"peeks": "train_0 train_1", "reads": "train_2"},
    )

    assert platform.trained()["TrainingJobStatus"] == "Completed"
    model = bucket.archive("training/job/output/model.tar.gz")
    assert [(len(i), label) for i, label in records_of(model, "train_2")] == [(3_000_000, b"0")] * 2


def test_channels_that_nobody_opens_do_not_hold_up_the_end(
    platform: Platform, bucket: Bucket
) -> None:
    platform.train(bucket, InputDataConfig=[augmented_channel(put_labelled(bucket, 2))])

    assert platform.trained(timeout_s=10)["TrainingJobStatus"] == "Completed"


def test_plain_objects_are_streamed_or_copied(platform: Platform, bucket: Bucket) -> None:
    bucket.put("data/a.rec", b"A" * 10)
    bucket.put("data/deep/b.rec", b"B" * 10)
    bucket.put("m.json", json.dumps([{"prefix": bucket.uri("data/")}, "deep/b.rec"]))

    def channel(name: str, data_type: str, key: str, **changes: str) -> dict[str, Any]:
        source = {"S3DataType": data_type, "S3Uri": bucket.uri(key)}
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}

    platform.train(
        bucket,
        InputDataConfig=[
            channel("joined", "S3Prefix", "data/"),
            channel("wrapped", "ManifestFile", "m.json", RecordWrapperType="RecordIO"),
            channel("copied", "S3Prefix", "data/", InputMode="File"),
        ],
        hyperparameters={"reads": "joined_0 wrapped_0 copied/a.rec copied/deep/b.rec"},
    )

    assert platform.trained()["TrainingJobStatus"] == "Completed"
    assert bucket.archive("training/job/output/model.tar.gz") == {
        "joined_0": b"A" * 10 + b"B" * 10,
        "wrapped_0": write_record(b"B" * 10),
        "copied/a.rec": b"A" * 10,
        "copied/deep/b.rec": b"B" * 10,
    }


@pytest.mark.parametrize(
    ("failure", "exit_code", "reason"),
    [
        ("bad data", 1, "AlgorithmError: bad data, exit code: 1"),
        ("ClientError: fix this", 2, "ClientError: fix this, exit code: 2"),
        ("x" * 2000, 1, "AlgorithmError: " + "x" * 994 + ", exit code: 1"),
    ],
)
def test_a_failed_program_gives_its_own_reason(
    platform: Platform, bucket: Bucket, failure: str, exit_code: int, reason: str
) -> None:
    platform.train(bucket, hyperparameters={"fail": failure, "exit": str(exit_code)})

    job = platform.trained()

    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", reason)
    assert "training/job/output/model.tar.gz" not in bucket.keys_below()
    assert "training/job/output/output.tar.gz" in bucket.keys_below()


def test_a_program_that_says_nothing_still_fails_with_its_code(
    platform: Platform, bucket: Bucket
) -> None:
    platform.train(bucket, hyperparameters={"exit": "3"})

    assert platform.trained()["FailureReason"].endswith("see the job's log, exit code: 3")


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("not json\n", "ClientError: Data download failed for channel train: Augmented manifest"),
        ('{"source-ref": "s3://b/k"}\n', "line 1 lacks class of AttributeNames"),
        ("\n", "has no line"),
        (None, "S3 answered NoSuchKey for"),
    ],
)
def test_a_bad_manifest_fails_the_job_before_the_program_starts(
    platform: Platform, bucket: Bucket, manifest: str | None, reason: str
) -> None:
    uri = bucket.uri("absent") if manifest is None else bucket.put("train.manifest", manifest)
    platform.train(bucket, InputDataConfig=[augmented_channel(uri)])

    job = platform.trained()

    assert job["TrainingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]
    assert platform.log("training") == ""


def test_a_missing_slice_fails_the_job_instead_of_shortening_the_epoch(
    platform: Platform, bucket: Bucket
) -> None:
    put_labelled(bucket, 3)
    bucket.s3.delete_object(Bucket=bucket.name, Key="slices/1.png")
    platform.train(
        bucket,
        InputDataConfig=[augmented_channel(bucket.uri("train.manifest"))],
        hyperparameters={"reads": "train_0", "sleep": "30"},
    )

    job = platform.trained(timeout_s=10)

    assert job["TrainingJobStatus"] == "Failed"
    slice_1 = bucket.uri("slices/1.png")
    assert job["FailureReason"] == (
        f"ClientError: Data download failed for channel train: S3 answered NoSuchKey for {slice_1}"
    )


def test_final_metrics_are_the_last_values_in_the_log(platform: Platform, bucket: Bucket) -> None:
    log = "Epoch[0] Validation-accuracy=0.5|Epoch[1] Validation-accuracy=0.75 x"
    platform.train(
        bucket,
        AlgorithmSpecification={
            "TrainingImage": "registry/trainer:1",
            "TrainingInputMode": "Pipe",
            "MetricDefinitions": [
                {"Name": "validation:accuracy", "Regex": "Validation-accuracy=([0-9.]+)"},
                {"Name": "train:accuracy", "Regex": "Train-accuracy=([0-9.]+)"},
            ],
        },
        hyperparameters={"say": log},
    )

    (metric,) = platform.trained()["FinalMetricDataList"]

    assert (metric["MetricName"], metric["Value"]) == ("validation:accuracy", 0.75)


def test_a_stopped_program_may_save_its_model(platform: Platform, bucket: Bucket) -> None:
    platform.train(bucket, hyperparameters={"sleep": "60"})
    platform.wait_for_log("training", "program is up")

    platform.client.stop_training_job(TrainingJobName="job")
    job = platform.trained()

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert bucket.archive("training/job/output/model.tar.gz") == {"saved-on-term": b"yes"}
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("/job/output/model.tar.gz")
    assert platform.announced("Stopped")[-2:] == ["Stopping", "Stopped"]


def test_a_program_that_ignores_the_request_is_killed(platform: Platform, bucket: Bucket) -> None:
    platform.train(bucket, hyperparameters={"sleep": "60", "stubborn": "1"})
    platform.wait_for_log("training", "program is up")
    asked_at = time.monotonic()

    platform.client.stop_training_job(TrainingJobName="job")

    assert platform.trained()["TrainingJobStatus"] == "Stopped"
    assert 0.5 < time.monotonic() - asked_at < 10


def test_a_stop_right_after_the_creation_is_heard(platform: Platform, bucket: Bucket) -> None:
    platform.train(bucket, hyperparameters={"sleep": "60"})
    platform.client.stop_training_job(TrainingJobName="job")

    job = platform.trained(timeout_s=10)

    assert job["TrainingJobStatus"] == "Stopped"
    assert platform.announced("Stopped")[-2:] == ["Stopping", "Stopped"]


def test_a_program_that_cannot_be_started_fails_the_job(
    start_platform: Callable[..., Platform], bucket: Bucket
) -> None:
    platform = start_platform(programs=Programs(default=("/no/such/program",)))
    platform.train(bucket)

    assert platform.trained()["FailureReason"].endswith(", exit code: 127")
    assert "No such file" in platform.log("training")


def test_the_time_limit_stops_a_job(platform: Platform, bucket: Bucket) -> None:
    platform.train(
        bucket,
        StoppingCondition={"MaxRuntimeInSeconds": 1},
        hyperparameters={"sleep": "60"},
    )

    job = platform.trained()

    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "FailureReason" not in job


def test_checkpoints_go_to_s3_and_come_back(platform: Platform, bucket: Bucket) -> None:
    config = {"S3Uri": bucket.uri("checkpoints/run")}
    for name in ("first", "second"):
        platform.train(
            bucket, name, CheckpointConfig=config, hyperparameters={"checkpoint": "epoch 1"}
        )
        assert platform.trained(name)["TrainingJobStatus"] == "Completed"

    assert bucket.get("checkpoints/run/state") == b"epoch 1"
    first = bucket.archive("training/first/output/output.tar.gz")
    second = bucket.archive("training/second/output/output.tar.gz")
    assert json.loads(first["checkpoints.json"]) == []
    assert json.loads(second["checkpoints.json"]) == ["state"]
    local_path = json.loads(second["config.json"])["checkpointconfig.json"]["LocalPath"]
    assert local_path.endswith("/training/second/opt/ml/checkpoints")


def test_an_output_bucket_that_does_not_exist_fails_the_job(
    platform: Platform, bucket: Bucket
) -> None:
    platform.train(bucket, OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/x"})

    job = platform.trained()

    assert job["TrainingJobStatus"] == "Failed"
    assert "no-such-bucket" in job["FailureReason"]


def test_progress_names_the_epoch(platform: Platform, bucket: Bucket) -> None:
    log = "Epoch[0] Validation-accuracy=0.5|Epoch[1] Batch [20] of [78]\tSpeed: 1 samples/sec"
    platform.train(bucket, hyperparameters={"say": log, "epochs": "5", "sleep": "60"})
    platform.wait_for_log("training", "Batch")

    (shown,) = platform.server.progress()

    assert (shown.kind, shown.name, shown.status) == ("training", "job", "InProgress")
    assert (shown.detail, shown.done, shown.total) == ("epoch 2 of 5, batch 20 of 78", 1, 5)
    platform.client.stop_training_job(TrainingJobName="job")
    platform.trained()
    (ended,) = until(platform.server.progress, lambda found: found[0].status == "Stopped")
    assert ended.detail == ""


def test_no_second_training_while_the_instance_is_taken(
    start_platform: Callable[..., Platform], bucket: Bucket
) -> None:
    platform = start_platform(quotas=Quotas(training_instances=1))
    platform.train(bucket, "first", hyperparameters={"sleep": "60"})
    limit: Any = platform.client.exceptions.ResourceLimitExceeded

    with pytest.raises(limit, match="current utilization of 1 Instances"):
        platform.train(bucket, "second")
    platform.client.stop_training_job(TrainingJobName="first")
    platform.trained("first")
    platform.train(bucket, "second")

    assert platform.trained("second")["TrainingJobStatus"] == "Completed"


def test_the_request_comes_back_in_the_description(platform: Platform, bucket: Bucket) -> None:
    request = training_request(
        bucket,
        InputDataConfig=[augmented_channel(put_labelled(bucket, 1))],
        Tags=[{"Key": "project", "Value": "tomodrop"}],
        EnableNetworkIsolation=True,
    )
    platform.client.create_training_job(**request)
    tags = request.pop("Tags")

    job = platform.trained()

    assert {key: job[key] for key in request} == request
    listed = platform.client.list_tags(ResourceArn=job["TrainingJobArn"])
    assert listed["Tags"] == tags
