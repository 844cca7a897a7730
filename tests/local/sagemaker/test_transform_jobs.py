"""Transform jobs, from CreateTransformJob to the .out objects, with a real server over HTTP."""

import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from local.sagemaker import Quotas, Timing
from local.sagemaker.invocations import wait_before
from tests.local.sagemaker.support import FAST, ROLE, SERVER, Bucket, Platform, put_inputs, until


def outputs(bucket: Bucket) -> list[str]:
    return [key.removeprefix("out/") for key in bucket.keys_below("out/")]


def answer(bucket: Bucket, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bucket.get(f"out/{name}.png.out"))
    return found


def test_every_object_of_the_manifest_gets_its_answer(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", b="three")
    platform.model(bucket)
    platform.transform(bucket)

    job = platform.transformed()

    assert job["TransformJobStatus"] == "Completed", job
    assert outputs(bucket) == ["a.png.out", "b.png.out"]
    assert bucket.get("out/a.png.out").endswith(b"}\n")
    first = answer(bucket, "a")
    assert first["prediction"] == [3]
    assert first["weights"] == "w"
    assert (first["content_type"], first["accept"]) == (
        "application/x-image",
        "application/jsonlines",
    )
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert platform.announced("Completed") == ["InProgress", "Completed"]


def test_the_server_sees_only_what_a_container_would(
    platform: Platform, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    put_inputs(bucket, a="one")
    platform.model(bucket, FROM_MODEL="m", BOTH="m")
    platform.transform(bucket, Environment={"BOTH": "job"})
    platform.transformed()

    seen = answer(bucket, "a")["environment"]

    assert {key: seen[key] for key in seen if key.startswith(("SAGEMAKER_M", "SAGEMAKER_BAT"))} == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "2",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6",
    }
    assert (seen["FROM_MODEL"], seen["BOTH"]) == ("m", "job")
    assert [key for key in seen if key.startswith("AWS")] == ["AWS_REGION"]


def test_an_object_that_is_refused_fails_the_job_but_not_the_others(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, a="one", poisoned="bad image", z="two")
    platform.model(bucket)
    platform.transform(bucket)

    job = platform.transformed()

    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert outputs(bucket) == ["a.png.out", "z.png.out"]
    log = platform.log("transform", file="data-log.txt").splitlines()
    where = f"{bucket.name}/in/poisoned.png"
    assert "MaxConcurrentTransforms=2, MaxPayloadInMB=6, BatchStrategy=SINGLE_RECORD" in log[0]
    assert [line.split(":[sagemaker logs]: ")[1] for line in log[1:]] == [
        f"{where}: ClientError: 400",
        f"{where}: Message:",
        f"{where}: cannot decode this image",
    ]


def test_an_object_that_is_not_there_fails_alone(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", gone="x")
    bucket.s3.delete_object(Bucket=bucket.name, Key="in/gone.png")
    platform.model(bucket)
    platform.transform(bucket)

    assert platform.transformed()["FailureReason"].startswith("ClientError")
    assert outputs(bucket) == ["a.png.out"]
    assert f"NoSuchKey for {bucket.uri('in/gone.png')}" in platform.log(
        "transform", file="data-log.txt"
    )


def test_server_errors_are_tried_again_and_then_given_up(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, flaky="flaky", broken="boom", a="one")
    platform.model(bucket)
    platform.transform(bucket, ModelClientConfig={"InvocationsMaxRetries": 1})

    job = platform.transformed()

    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert outputs(bucket) == ["a.png.out", "flaky.png.out"]
    log = platform.log("transform", file="data-log.txt")
    assert "in/broken.png: Bad HTTP status received from algorithm: 500" in log
    assert "flaky" not in log


def test_without_retries_one_server_error_is_enough(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, flaky="flaky")
    platform.model(bucket)
    platform.transform(bucket, ModelClientConfig={"InvocationsMaxRetries": 0})

    assert platform.transformed()["TransformJobStatus"] == "Failed"
    assert outputs(bucket) == []


def test_a_busy_server_is_asked_again_when_it_says(
    start_platform: Callable[..., Platform], bucket: Bucket
) -> None:
    platform = start_platform(timing=replace(FAST, retry_first_s=30, retry_most_s=60))
    put_inputs(bucket, a="one", busy="busy")
    platform.model(bucket, RETRY_AFTER="0")
    platform.transform(bucket)

    assert platform.transformed()["TransformJobStatus"] == "Completed"
    assert outputs(bucket) == ["a.png.out", "busy.png.out"]


def test_a_server_that_stays_busy_is_not_waited_for_for_ever(
    start_platform: Callable[..., Platform], bucket: Bucket
) -> None:
    platform = start_platform(timing=replace(FAST, retry_most_s=0.01))
    put_inputs(bucket, a="one", full="full")
    platform.model(bucket, RETRY_AFTER="3600")
    platform.transform(bucket)

    assert platform.transformed()["FailureReason"].startswith("ClientError")
    assert outputs(bucket) == ["a.png.out"]
    log = platform.log("transform", file="data-log.txt")
    assert "in/full.png: ClientError: 429" in log


@pytest.mark.parametrize(
    ("attempt", "asked_s", "waits_s"),
    [
        (1, None, 0.2),
        (2, None, 0.4),
        (3, None, 0.8),
        (1, 5.0, 5.0),
        (3, 0.0, 0.0),
        (20, None, 20.0),
        (1, 86400.0, 20.0),
    ],
)
def test_the_wait_before_a_retry_is_bounded(
    attempt: int, asked_s: float | None, waits_s: float
) -> None:
    assert wait_before(attempt, asked_s, Timing()) == waits_s


def test_the_next_object_is_fetched_while_the_last_is_answered(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, a="one", b="two")
    platform.model(bucket, SLOWNESS_S="1.5")
    platform.transform(bucket, MaxConcurrentTransforms=1)
    until(platform.server.progress, lambda found: found[0].detail == "transforming")
    time.sleep(0.7)
    bucket.s3.delete_object(Bucket=bucket.name, Key="in/b.png")
    assert outputs(bucket) == []

    assert platform.transformed()["TransformJobStatus"] == "Completed"
    assert outputs(bucket) == ["a.png.out", "b.png.out"]


def test_a_request_that_hangs_is_timed_out(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", slow="hang")
    platform.model(bucket)
    config = {"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1}
    platform.transform(bucket, ModelClientConfig=config)

    assert platform.transformed()["FailureReason"].startswith("AlgorithmError")
    assert outputs(bucket) == ["a.png.out"]
    reason = "Model server did not respond to /invocations request within 1 seconds"
    assert reason in platform.log("transform", file="data-log.txt")


def test_a_server_that_dies_ends_the_job_at_once(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", b="die", c="two")
    platform.model(bucket)
    started_at = time.monotonic()
    platform.transform(bucket, MaxConcurrentTransforms=1)

    job = platform.transformed()

    assert job["FailureReason"] == "AlgorithmError: Model container ended, exit code: 9"
    assert outputs(bucket) == ["a.png.out"]
    assert time.monotonic() - started_at < 10


def test_a_server_that_does_not_start_fails_the_job(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket, EXIT_AT_START="3")
    platform.transform(bucket)

    reason = platform.transformed()["FailureReason"]

    assert reason == (
        "AlgorithmError: Model container ended before it answered /ping, exit code: 3"
    )


def test_the_server_is_waited_for_until_it_is_ready(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket, READY_AFTER_S="0.5")
    platform.transform(bucket)

    assert platform.transformed()["TransformJobStatus"] == "Completed"


def test_an_object_beyond_the_payload_limit_is_not_sent(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", large="x" * (1024 * 1024 + 1))
    platform.model(bucket)
    platform.transform(bucket, MaxPayloadInMB=1)

    assert platform.transformed()["FailureReason"].startswith("ClientError")
    assert outputs(bucket) == ["a.png.out"]
    log = platform.log("transform", file="data-log.txt")
    assert "in/large.png: ClientError: 413" in log
    assert "1048577 bytes" in log


def test_as_many_requests_at_once_as_asked_for(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, **{f"o{n}": "x" for n in range(6)})
    platform.model(bucket, SLOWNESS_S="0.15")
    platform.transform(bucket, MaxConcurrentTransforms=3)
    platform.transformed()

    assert max(answer(bucket, f"o{n}")["most_at_once"] for n in range(6)) == 3


def test_what_the_request_leaves_open_the_server_may_choose(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, **{f"o{n}": "x" for n in range(6)})
    offer = json.dumps({"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 5})
    platform.model(bucket, SLOWNESS_S="0.15", OFFER=offer)
    platform.transform(bucket, MaxConcurrentTransforms=0)
    platform.transformed()

    assert max(answer(bucket, f"o{n}")["most_at_once"] for n in range(6)) == 2
    log = platform.log("transform", file="data-log.txt")
    assert "MaxConcurrentTransforms=2, MaxPayloadInMB=6" in log


def test_a_prefix_is_mirrored_below_the_output(platform: Platform, bucket: Bucket) -> None:
    bucket.put("in/a.png", "one")
    bucket.put("in/deep/b.png", "two")
    platform.model(bucket)
    source = {"S3DataType": "S3Prefix", "S3Uri": bucket.uri("in/")}
    platform.transform(bucket, TransformInput={"DataSource": {"S3DataSource": source}})

    assert platform.transformed()["TransformJobStatus"] == "Completed"
    assert outputs(bucket) == ["a.png.out", "deep/b.png.out"]
    assert answer(bucket, "a")["content_type"] is None


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("{}", "Manifest must be a JSON array"),
        ("[", "Manifest is not JSON"),
        ('["a.png"]', "Manifest must start with"),
        ('[{"prefix": "s3://b/"}]', "Manifest names no object"),
        (None, "S3 answered NoSuchKey for"),
    ],
)
def test_a_bad_manifest_fails_the_job(
    platform: Platform, bucket: Bucket, manifest: str | None, reason: str
) -> None:
    if manifest is not None:
        bucket.put("m.json", manifest)
    platform.model(bucket)
    platform.transform(bucket)

    found = platform.transformed()["FailureReason"]

    assert found.startswith("ClientError: ")
    assert reason in found


def test_a_model_that_reaches_out_of_its_folder_is_refused(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, a="one")
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../../../escaped"), io.BytesIO(b""))
    url = bucket.put("evil/model.tar.gz", body.getvalue())
    platform.client.create_model(
        ModelName="model",
        PrimaryContainer={"Image": SERVER, "ModelDataUrl": url},
        ExecutionRoleArn=ROLE,
    )
    platform.transform(bucket)

    assert "lies outside its folder" in platform.transformed()["FailureReason"]
    assert not list(platform.state_dir.rglob("escaped"))


def test_stopping_keeps_what_was_answered(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", b="hang", c="two")
    platform.model(bucket)
    platform.transform(bucket, MaxConcurrentTransforms=1)
    until(lambda: outputs(bucket), lambda found: found == ["a.png.out"])
    asked_at = time.monotonic()

    platform.client.stop_transform_job(TransformJobName="job")
    job = platform.transformed()

    assert job["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in job
    assert outputs(bucket) == ["a.png.out"]
    assert time.monotonic() - asked_at < 5
    assert platform.announced("Stopped") == ["InProgress", "Stopping", "Stopped"]


def test_an_output_bucket_that_does_not_exist_fails_the_job(
    platform: Platform, bucket: Bucket
) -> None:
    put_inputs(bucket, a="one", b="hang")
    platform.model(bucket)
    platform.transform(bucket, TransformOutput={"S3OutputPath": "s3://no-such-bucket/out"})

    # At once, though the other request hangs.
    reason = platform.transformed(timeout_s=10)["FailureReason"]

    assert reason == "ClientError: S3 answered NoSuchBucket for s3://no-such-bucket/out/a.png.out"


def test_no_more_jobs_than_instances(
    start_platform: Callable[..., Platform], bucket: Bucket
) -> None:
    platform = start_platform(quotas=Quotas(transform_instances=1))
    put_inputs(bucket, a="hang")
    platform.model(bucket)
    platform.transform(bucket, "first")
    limit: Any = platform.client.exceptions.ResourceLimitExceeded

    with pytest.raises(limit, match="a request delta of 1 Instances"):
        platform.transform(bucket, "second")
    platform.client.stop_transform_job(TransformJobName="first")
    platform.transformed("first")
    put_inputs(bucket, a="one")
    platform.transform(bucket, "second")

    assert platform.transformed("second")["TransformJobStatus"] == "Completed"


def test_a_running_job_does_not_need_its_model_any_more(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one")
    platform.model(bucket, READY_AFTER_S="0.3")
    platform.transform(bucket)
    platform.client.delete_model(ModelName="model")

    assert platform.transformed()["TransformJobStatus"] == "Completed"


def test_progress_counts_objects(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="one", b="hang", c="two")
    platform.model(bucket)
    platform.transform(bucket, MaxConcurrentTransforms=1)
    (shown,) = until(platform.server.progress, lambda found: found[0].done == 1)

    assert (shown.kind, shown.name, shown.detail, shown.total) == (
        "transform",
        "job",
        "transforming",
        3,
    )
    platform.client.stop_transform_job(TransformJobName="job")
    platform.transformed()
