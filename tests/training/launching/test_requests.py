"""What the SDK sends, beside what the scheduled steps send: captured from the wire."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import create_backend_app
from moto.sagemaker.models import sagemaker_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.functions.builders import ENVIRONMENT, JOB, REPOSITORY
from tomodrop.instances import expect
from tomodrop.models import model_request
from tomodrop.settings import Settings
from tomodrop.training_jobs import training_request
from tomodrop.transform_jobs import transform_request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("sagemaker") is None, reason="the sagemaker SDK is not installed"
    ),
]

Json = dict[str, Any]
ARTEFACT = "s3://tomodrop-work-123456789012/training/job/output/model.tar.gz"
OUR_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tomodrop:1"
# All command lines in one process: the SDK takes seconds to load.
RUN_ALL = """
import json, sys
from training.launch import main
for arguments in json.load(sys.stdin):
    code = main(arguments)
    if code:
        sys.exit(code)
"""


class Quiet(WSGIRequestHandler):
    def log(self, *_arguments: object) -> None:
        pass


@dataclass
class Recorder:
    """moto's SageMaker, and every request it was sent: operation and parsed body."""

    application: Any
    requests: list[tuple[str, Json]] = field(default_factory=list)

    def __call__(self, environ: Json, start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        operation = str(environ["HTTP_X_AMZ_TARGET"]).partition(".")[2]
        self.requests.append((operation, json.loads(body)))
        answer = self.application({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        # AWS leaves out what a model does not have, moto says {}, and the SDK takes that amiss.
        return [b"".join(answer).replace(b', "VpcConfig": {}', b"")]


@dataclass(frozen=True)
class Asked:
    """The requests a step would send, and the command line that should send the same."""

    settings: Settings
    arguments: list[str]
    expected: Json


def training_case(**values: str) -> Asked:
    settings = Settings.from_environment(ENVIRONMENT | values)
    expected = training_request(settings, "job", 1984, "d" * 64)
    train, validation, *model = (c["DataSource"] for c in expected["InputDataConfig"])
    arguments = [
        "train",
        f"--train={train['S3DataSource']['S3Uri']}",
        f"--validation={validation['S3DataSource']['S3Uri']}",
        f"--shuffle-seed={expected['InputDataConfig'][0]['ShuffleConfig']['Seed']}",
        f"--output={expected['OutputDataConfig']['S3OutputPath']}",
        f"--role={settings.sagemaker_role_arn}",
        f"--image={settings.algorithm_image}",
        f"--instance-type={settings.training_instance_type}",
        f"--instance-count={settings.training_instance_count}",
        f"--volume-gb={settings.training_volume_gb}",
        f"--max-hours={settings.training_max_hours}",
        *(f"--hyperparameter={n}={v}" for n, v in expected["HyperParameters"].items()),
        *(f"--environment={n}={v}" for n, v in expected["Environment"].items()),
        *(
            f"--metric={metric['Name']}={metric['Regex']}"
            for metric in expected["AlgorithmSpecification"].get("MetricDefinitions", ())
        ),
    ]
    arguments += protection(
        expected["OutputDataConfig"], expected["ResourceConfig"], expected.get("VpcConfig", {})
    )
    if settings.use_spot:
        arguments.append(f"--checkpoints={expected['CheckpointConfig']['S3Uri']}")
    if model:
        arguments.append(f"--model={model[0]['S3DataSource']['S3Uri']}")
    return Asked(settings, arguments, expected)


def protection(output: Json, resources: Json, network: Json) -> list[str]:
    """The options for a key and a VPC, if the step's request has them."""
    keys = {
        "--output-kms-key": output.get("KmsKeyId"),
        "--volume-kms-key": resources.get("VolumeKmsKeyId"),
    }
    return [
        *(f"{name}={key}" for name, key in keys.items() if key),
        *(f"--subnet={subnet}" for subnet in network.get("Subnets", ())),
        *(f"--security-group={group}" for group in network.get("SecurityGroupIds", ())),
    ]


def transform_case(*model: str, **values: str) -> Asked:
    settings = Settings.from_environment(ENVIRONMENT | values)
    choice = expect(1, settings.transform_instance_type, settings.transform_instance_count)
    expected = transform_request(settings, JOB, "some-model", choice)
    arguments = [
        "transform",
        f"--manifest={expected['TransformInput']['DataSource']['S3DataSource']['S3Uri']}",
        f"--output={expected['TransformOutput']['S3OutputPath']}",
        f"--instance-type={settings.transform_instance_type}",
        f"--instance-count={settings.transform_instance_count}",
        f"--max-concurrent-transforms={settings.max_concurrent_transforms}",
        f"--answer-detail={settings.answer_detail}",
        *protection(expected["TransformOutput"], expected["TransformResources"], {}),
        *model,
    ]
    return Asked(settings, arguments, expected)


OWN_KEY = {"KMS_KEY_ARN": "arn:aws:kms:us-east-1:123456789012:key/1234abcd"}
OWN_NETWORK = {"SUBNET_IDS": "subnet-1,subnet-2", "SECURITY_GROUP_IDS": "sg-1,sg-2"}
# One with volumes that take a key: the default has disks of its own.
OWN_VOLUMES = {"TRAINING_INSTANCE_TYPE": "ml.m5.large", "TRANSFORM_INSTANCE_TYPE": "ml.m5.large"}

CASES = {
    "built-in": training_case(
        # Values that JSON would spell otherwise, and a list.
        HYPERPARAMETERS='epochs=50,early_stopping=True,learning_rate=1e-3,lr_scheduler_step="1,2"'
    ),
    "ours": training_case(ALGORITHM_IMAGE=OUR_IMAGE, TRAINING_MAX_HOURS="2.5"),
    "spot": training_case(USE_SPOT="true", ALGORITHM_IMAGE=OUR_IMAGE),
    "model": training_case(STARTING_MODEL_KEY="training/job/output/model.tar.gz"),
    "key and network": training_case(**OWN_KEY, **OWN_NETWORK, **OWN_VOLUMES),
    "key, disks of its own": training_case(**OWN_KEY),
    "transform": transform_case("--model-name=some-model"),
    "transform-made": transform_case(
        f"--model-data={ARTEFACT}",
        f"--role={ENVIRONMENT['SAGEMAKER_ROLE_ARN']}",
        f"--image={OUR_IMAGE}",
    ),
    "transform-verbose": transform_case("--model-name=some-model", ANSWER_DETAIL="verbose"),
    "transform-key": transform_case("--model-name=some-model", **OWN_KEY, **OWN_VOLUMES),
    "transform-made-network": transform_case(
        f"--model-data={ARTEFACT}",
        f"--role={ENVIRONMENT['SAGEMAKER_ROLE_ARN']}",
        f"--image={OUR_IMAGE}",
        *("--subnet=subnet-1", "--subnet=subnet-2"),
        *("--security-group=sg-1", "--security-group=sg-2"),
        **OWN_NETWORK,
    ),
}
TRAININGS = [name for name in CASES if not name.startswith("transform")]
TRANSFORMS = [name for name in CASES if name.startswith("transform")]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    recorder = Recorder(create_backend_app("sagemaker"))
    server = make_server("127.0.0.1", 0, recorder, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        _launch_all(f"http://127.0.0.1:{server.server_port}")
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        sagemaker_backends.reset()


def _launch_all(url: str) -> None:
    """Every case; whatever is not SageMaker is unreachable, IAM and telemetry included."""
    nowhere = "http://127.0.0.1:9"
    run = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        cwd=REPOSITORY,
        input=json.dumps([case.arguments for case in CASES.values()]),
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "AWS_ENDPOINT_URL": nowhere,
            "AWS_ENDPOINT_URL_SAGEMAKER": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "HTTPS_PROXY": nowhere,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == len(CASES), run.stdout


def sent(recorder: Recorder, operation: str) -> list[Json]:
    return [body for asked, body in recorder.requests if asked == operation]


def without(request: Json, *names: str) -> Json:
    return {name: value for name, value in request.items() if name not in names}


@pytest.mark.parametrize(("number", "name"), list(enumerate(TRAININGS)))
def test_a_training_is_asked_for_as_the_retrain_step_asks(
    recorder: Recorder, number: int, name: str
) -> None:
    request = sent(recorder, "CreateTrainingJob")[number]
    expected = without(CASES[name].expected, "TrainingJobName")
    assert without(request, "TrainingJobName", "Tags") == expected


@pytest.mark.parametrize(("number", "name"), list(enumerate(TRANSFORMS)))
def test_a_transform_is_asked_for_as_the_dispatch_step_asks(
    recorder: Recorder, number: int, name: str
) -> None:
    request = sent(recorder, "CreateTransformJob")[number]
    expected = without(CASES[name].expected, "TransformJobName", "ModelName")
    assert without(request, "TransformJobName", "ModelName", "Tags") == expected


def test_the_model_is_made_as_the_promote_step_makes_it(recorder: Recorder) -> None:
    jobs = dict(zip(TRANSFORMS, sent(recorder, "CreateTransformJob"), strict=True))
    models = sent(recorder, "CreateModel")
    for name, model in zip(("transform-made", "transform-made-network"), models, strict=True):
        described = {
            "TrainingJobName": model["ModelName"],
            "AlgorithmSpecification": {"TrainingImage": OUR_IMAGE},
            "ModelArtifacts": {"S3ModelArtifacts": ARTEFACT},
        }
        assert without(model, "Tags") == model_request(CASES[name].settings, described)
        assert jobs.pop(name)["ModelName"] == model["ModelName"]
    assert "VpcConfig" in models[1]
    assert {job["ModelName"] for job in jobs.values()} == {"some-model"}


def test_names_start_with_the_prefix_and_no_stack_takes_them_for_its_own(
    recorder: Recorder,
) -> None:
    trainings = [job["TrainingJobName"] for job in sent(recorder, "CreateTrainingJob")]
    transforms = [job["TransformJobName"] for job in sent(recorder, "CreateTransformJob")]
    assert all(name.startswith("by-hand-train-") for name in trainings)
    assert all(name.startswith("by-hand-2") for name in transforms)
    assert all(len(name) <= 63 for name in trainings + transforms)
