"""What a SIGKILL or a restart must not lose: jobs, names, events."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.local.sagemaker.support import (
    PROGRAMS,
    SESSION,
    Bucket,
    Platform,
    put_inputs,
    training_request,
    transform_request,
    until,
)

VICTIM = """
import json, sys, time
from pathlib import Path
from local.sagemaker import Programs, SageMakerServer
image, program, state, endpoint = sys.argv[1:]
server = SageMakerServer(
    account="123456789012", region="us-east-1", state_dir=Path(state), emit=lambda event: None,
    aws_environment={"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1",
                     "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
    programs=Programs(by_image={image: (sys.executable, program)}),
)
server.start()
print(server.url, flush=True)
time.sleep(60)
"""


class Victim:
    """A SageMaker in a process of its own, to be killed."""

    def __init__(self, image: str, program: str, state: Path, endpoint: str) -> None:
        argv = [sys.executable, "-c", VICTIM, image, str(PROGRAMS / program), str(state), endpoint]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        url = self.process.stdout.readline().strip()
        self.client = SESSION.client("sagemaker", endpoint_url=url)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.client.close()


def processes_naming(text: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads Linux's /proc")
def test_no_program_outlives_a_killed_server(moto: str, bucket: Bucket, tmp_path: Path) -> None:
    victim = Victim("registry/trainer:1", "trainer.py", tmp_path, moto)
    victim.client.create_training_job(
        **training_request(bucket, hyperparameters={"sleep": "60", "stubborn": "1"})
    )
    base = f"SAGEMAKER_BASE_DIR={tmp_path}"
    until(lambda: processes_naming(base), lambda found: len(found) == 2)

    victim.kill()

    until(lambda: processes_naming(base), lambda found: not found, timeout_s=5)


def test_a_killed_training_runs_again_from_its_checkpoints(
    moto: str, bucket: Bucket, tmp_path: Path, start_platform: Callable[..., Platform]
) -> None:
    victim = Victim("registry/trainer:1", "trainer.py", tmp_path / "state", moto)
    request = training_request(bucket, hyperparameters={"checkpoint": "1", "sleep": "60"})
    victim.client.create_training_job(**request)
    state = tmp_path / "state" / "training" / "job" / "opt" / "ml" / "checkpoints" / "state"
    until(state.exists, bool)
    victim.kill()

    platform = start_platform()
    job = platform.trained()

    assert job["TrainingJobStatus"] == "Completed"
    stages = [stage["Status"] for stage in job["SecondaryStatusTransitions"]]
    assert stages[-6:] == [
        "Interrupted",
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    output = bucket.archive("training/job/output/output.tar.gz")
    assert json.loads(output["checkpoints.json"]) == ["state"]
    with pytest.raises(platform.client.exceptions.ResourceInUse):
        platform.client.create_training_job(**request)


def test_a_killed_transform_does_not_repeat_what_has_a_result(
    moto: str, bucket: Bucket, tmp_path: Path, start_platform: Callable[..., Platform]
) -> None:
    put_inputs(bucket, a="one", b="hang", c="two")
    victim = Victim("registry/server:1", "server.py", tmp_path / "state", moto)
    model = bucket.put_model()
    victim.client.create_model(
        ModelName="model",
        PrimaryContainer={"Image": "registry/server:1", "ModelDataUrl": model},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/SageMakerRole",
    )
    request = transform_request(bucket, MaxConcurrentTransforms=1)
    victim.client.create_transform_job(**request)
    until(lambda: bucket.keys_below("out/"), lambda found: found == ["out/a.png.out"])
    victim.kill()
    bucket.put("in/b.png", "answered now")
    bucket.put("out/a.png.out", "kept")

    platform = start_platform()

    assert platform.transformed()["TransformJobStatus"] == "Completed"
    assert bucket.keys_below("out/") == ["out/a.png.out", "out/b.png.out", "out/c.png.out"]
    assert bucket.get("out/a.png.out") == b"kept"


def test_each_object_is_scored_once_across_a_kill(
    moto: str, bucket: Bucket, tmp_path: Path, start_platform: Callable[..., Platform]
) -> None:
    """But for those that were under way: nobody has their answers."""
    names, concurrent = [f"{number:02d}" for number in range(40)], 2
    put_inputs(bucket, **{f"n{name}": f"picture {name}" for name in names})
    victim = Victim("registry/server:1", "server.py", tmp_path / "state", moto)
    victim.client.create_model(
        ModelName="model",
        PrimaryContainer={"Image": "registry/server:1", "ModelDataUrl": bucket.put_model()},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/SageMakerRole",
    )
    noted = tmp_path / "scored"
    environment = {"SCORED": str(noted), "SLOWNESS_S": "0.05"}
    request = transform_request(bucket, MaxConcurrentTransforms=concurrent, Environment=environment)
    victim.client.create_transform_job(**request)
    until(lambda: bucket.keys_below("out/"), lambda found: len(found) >= 12)
    victim.kill()
    before = len(bucket.keys_below("out/"))

    platform = start_platform()
    assert platform.transformed()["TransformJobStatus"] == "Completed"

    assert len(bucket.keys_below("out/")) == len(names)
    scored = Counter(noted.read_text().splitlines())
    assert set(scored) == {f"picture {name}" for name in names}
    # Asked, or answered and not written when the server was killed: at most this many of each.
    assert sum(count - 1 for count in scored.values()) <= 2 * 2 * concurrent
    [shown] = platform.server.progress()
    assert before <= shown.before <= before + 2 * concurrent
    assert (shown.done, shown.total) == (len(names), len(names))


def test_an_orderly_stop_leaves_running_jobs_resumable(platform: Platform, bucket: Bucket) -> None:
    put_inputs(bucket, a="hang")
    platform.model(bucket)
    platform.transform(bucket)
    platform.train(bucket, hyperparameters={"sleep": "60", "checkpoint": "1"})
    platform.wait_for_log("training", "program is up")
    platform.wait_for_log("transform", "server is up")
    stopped_at = time.monotonic()

    put_inputs(bucket, a="one")
    platform.restart()

    assert time.monotonic() - stopped_at < 10
    assert platform.trained()["TrainingJobStatus"] == "Completed"
    assert platform.transformed()["TransformJobStatus"] == "Completed"


def test_a_stop_that_was_asked_for_before_the_restart_is_kept(
    platform: Platform, bucket: Bucket
) -> None:
    platform.train(bucket, hyperparameters={"sleep": "60", "stubborn": "1"})
    platform.wait_for_log("training", "program is up")
    platform.client.stop_training_job(TrainingJobName="job")

    platform.restart()

    assert platform.trained()["TrainingJobStatus"] == "Stopped"


def test_a_training_that_was_uploading_is_not_trained_again(
    platform: Platform, bucket: Bucket
) -> None:
    platform.train(bucket, hyperparameters={"checkpoint": "1"})
    platform.trained()
    platform.stop()
    # The state a SIGKILL leaves between the program's end and the end of the upload.
    record = platform.state_dir / "records" / "training-job" / "job.json"
    content = json.loads(record.read_text())
    content["description"] |= {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Uploading"}
    record.write_text(json.dumps(content))
    model = platform.state_dir / "training" / "job" / "opt" / "ml" / "model"
    model.mkdir(parents=True)
    (model / "weights").write_text("from before")

    platform.start()

    assert platform.trained()["TrainingJobStatus"] == "Completed"
    assert bucket.archive("training/job/output/model.tar.gz") == {"weights": b"from before"}
    assert platform.log("training").count("program is up") == 1


def test_events_wait_for_a_bus_that_is_down(platform: Platform, bucket: Bucket) -> None:
    platform.refuse_events.set()
    platform.train(bucket)
    platform.trained()
    assert platform.events == []

    platform.refuse_events.clear()

    assert platform.announced("Completed")[-1] == "Completed"


def test_undelivered_events_are_sent_after_a_restart_and_only_once(
    platform: Platform, bucket: Bucket
) -> None:
    platform.refuse_events.set()
    platform.train(bucket)
    platform.trained()
    platform.stop()
    platform.refuse_events.clear()

    platform.start()
    stages = platform.announced("Completed")
    platform.restart()
    time.sleep(0.3)

    assert stages == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert platform.statuses() == stages


def test_models_and_tags_survive_a_restart(platform: Platform, bucket: Bucket) -> None:
    platform.model(bucket)
    arn = platform.client.describe_model(ModelName="model")["ModelArn"]
    platform.client.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])

    platform.restart()

    assert platform.client.describe_model(ModelName="model")["ModelArn"] == arn
    assert platform.client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]


def test_a_half_written_record_is_never_read(platform: Platform, bucket: Bucket) -> None:
    platform.model(bucket)
    platform.stop()
    # A SIGKILL in the middle of a write leaves the new text under its temporary name.
    half = platform.state_dir / "records" / "model" / "model.tmp"
    half.write_text('{"kind": "mod')

    platform.start()

    assert platform.client.describe_model(ModelName="model")["ModelName"] == "model"
