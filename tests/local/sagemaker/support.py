"""Short ways to fill buckets, ask for jobs and wait for them: clients of our code, no stand-ins."""

import io
import json
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import urllib3
from botocore.config import Config

from local.sagemaker import Programs, Quotas, SageMakerServer, Timing

T = TypeVar("T")
PROGRAMS = Path(__file__).parent / "programs"
ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/SageMakerRole"
TRAINER, SERVER = "registry/trainer:1", "registry/server:1"
FAST = Timing(
    stop_grace_s=0.6,
    server_start_s=10,
    server_stop_s=1,
    poll_s=0.02,
    checkpoint_sync_s=0.1,
    retry_first_s=0.01,
    emit_retry_first_s=0.02,
)
SESSION = boto3.session.Session(
    aws_access_key_id="operator", aws_secret_access_key="secret", region_name=REGION
)


class Bucket:
    """A bucket of its own for each test, and short ways to fill and read it."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.name = f"work-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=self.name)

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, body: bytes | str) -> str:
        self.s3.put_object(Bucket=self.name, Key=key, Body=body)
        return self.uri(key)

    def get(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.name, Key=key)["Body"].read())

    def keys_below(self, prefix: str = "") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def archive(self, key: str) -> dict[str, bytes]:
        """The plain files of a .tar.gz."""
        with tarfile.open(fileobj=io.BytesIO(self.get(key)), mode="r:gz") as tar:
            return {
                member.name: opened.read()
                for member in tar
                if member.isfile() and (opened := tar.extractfile(member))
            }

    def put_model(self, key: str = "models/m/model.tar.gz", **files: str) -> str:
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as tar:
            for name, text in (files or {"weights.txt": "w"}).items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        return self.put(key, body.getvalue())


class Platform:
    """One embedded SageMaker and everything it emitted; `restart` keeps the state."""

    def __init__(self, moto: str, state_dir: Path, **options: Any) -> None:
        self.state_dir = state_dir
        self.events: list[dict[str, Any]] = []
        self._moto = moto
        self._options = options
        self.refuse_events = threading.Event()
        self.start()

    def start(self) -> None:
        settings: dict[str, Any] = {
            "timing": FAST,
            "quotas": Quotas(4, 4),
            "programs": programs(),
        } | self._options
        self.server = SageMakerServer(
            account=ACCOUNT,
            region=REGION,
            state_dir=self.state_dir,
            aws_environment={
                "AWS_ENDPOINT_URL": self._moto,
                "AWS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "platform",
                "AWS_SECRET_ACCESS_KEY": "secret",
            },
            emit=self._take,
            **settings,
        )
        self.server.start()
        self.client: Any = SESSION.client(
            "sagemaker",
            endpoint_url=self.server.url,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def stop(self) -> None:
        self.server.stop()
        self.client.close()

    def call(self, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """A request as it comes over the wire, with no client's checks before it."""
        headers = {"X-Amz-Target": f"SageMaker.{operation}"}
        answer = urllib3.request("POST", self.server.url, body=body, headers=headers)
        return answer.status, answer.json()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _take(self, event: dict[str, Any]) -> None:
        if self.refuse_events.is_set():
            raise RuntimeError("the bus is down")
        # What is not JSON could not travel.
        self.events.append(json.loads(json.dumps(event)))

    def train(self, bucket: Bucket, name: str = "job", **changes: Any) -> None:
        self.client.create_training_job(**training_request(bucket, name, **changes))

    def transform(self, bucket: Bucket, name: str = "job", **changes: Any) -> None:
        self.client.create_transform_job(**transform_request(bucket, name, **changes))

    def model(self, bucket: Bucket, name: str = "model", **environment: str) -> None:
        self.client.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": SERVER,
                "ModelDataUrl": bucket.put_model(),
                "Environment": environment,
            },
            ExecutionRoleArn=ROLE,
            EnableNetworkIsolation=True,
        )

    def trained(self, name: str = "job", timeout_s: float = 20) -> Any:
        """The description of a training job once it ended."""
        return until(
            lambda: self.client.describe_training_job(TrainingJobName=name),
            lambda found: found["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"),
            timeout_s,
        )

    def transformed(self, name: str = "job", timeout_s: float = 20) -> Any:
        """The description of a transform job once it ended."""
        return until(
            lambda: self.client.describe_transform_job(TransformJobName=name),
            lambda found: found["TransformJobStatus"] in ("Completed", "Failed", "Stopped"),
            timeout_s,
        )

    def log(self, kind: str, name: str = "job", file: str = "log.txt") -> str:
        path = self.state_dir / kind / name / file
        return path.read_text() if path.exists() else ""

    def wait_for_log(self, kind: str, text: str, name: str = "job") -> None:
        until(lambda: self.log(kind, name), lambda log: text in log)

    def statuses(self, name: str = "job") -> list[str]:
        """The (secondary) statuses that were announced for a job, in order."""
        found = []
        for event in list(self.events):
            detail = event["detail"]
            if detail.get("TrainingJobName") == name:
                found.append(detail["SecondaryStatus"])
            elif detail.get("TransformJobName") == name:
                found.append(detail["TransformJobStatus"])
        return found

    def announced(self, status: str, name: str = "job") -> list[str]:
        """`statuses`, once this one is among them."""
        return until(lambda: self.statuses(name), lambda found: status in found)


def programs() -> Programs:
    return Programs(
        by_image={
            TRAINER: (sys.executable, str(PROGRAMS / "trainer.py")),
            SERVER: (sys.executable, str(PROGRAMS / "server.py")),
        }
    )


def until(look: Callable[[], T], good: Callable[[T], bool], timeout_s: float = 20) -> T:
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if good(found):
            return found
        assert time.monotonic() < deadline, f"after {timeout_s} s still {found!r}"
        time.sleep(0.05)


def training_request(bucket: Bucket, name: str = "job", **changes: Any) -> dict[str, Any]:
    """A whole CreateTrainingJob; keyword `hyperparameters` and any member may be given."""
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": TRAINER, "TrainingInputMode": "Pipe"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": bucket.uri("training")},
        "ResourceConfig": {
            "InstanceType": "ml.g4dn.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 50,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": changes.pop("hyperparameters", {}),
    }
    return {**request, **changes}


def augmented_channel(uri: str, name: str = "train", **changes: Any) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "ContentType": "application/x-recordio",
        "CompressionType": "None",
        "RecordWrapperType": "RecordIO",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "AugmentedManifestFile",
                "S3Uri": uri,
                "S3DataDistributionType": "FullyReplicated",
                "AttributeNames": ["source-ref", "class"],
            }
        },
        **changes,
    }


def transform_request(bucket: Bucket, name: str = "job", **changes: Any) -> dict[str, Any]:
    """A whole CreateTransformJob over the manifest `m.json`; any member may be given."""
    request = {
        "TransformJobName": name,
        "ModelName": "model",
        "MaxConcurrentTransforms": 2,
        "MaxPayloadInMB": 6,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {
                "S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": bucket.uri("m.json")}
            },
            "ContentType": "application/x-image",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": bucket.uri("out"),
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1},
    }
    return {**request, **changes}


def put_inputs(bucket: Bucket, **bodies: str) -> None:
    """Objects under in/, and the manifest that names them."""
    for name, body in bodies.items():
        bucket.put(f"in/{name}.png", body)
    manifest = [{"prefix": bucket.uri("in/")}, *(f"{name}.png" for name in bodies)]
    bucket.put("m.json", json.dumps(manifest))
