import os
import subprocess
import sys

import pytest

from tests.training.builders import REPOSITORY
from training.launching.options import (
    METRICS,
    TrainingOptions,
    TransformOptions,
    read_options,
)

TRAIN = [
    "train",
    "--train=s3://b/t",
    "--validation=s3://b/v",
    "--output=s3://b/o",
    "--role=arn:aws:iam::123456789012:role/r",
    "--image=r/ours:1",
]
TRANSFORM = ["transform", "--manifest=s3://b/m", "--output=s3://b/o"]


def training(*more: str) -> TrainingOptions:
    options = read_options([*TRAIN, *more])
    assert isinstance(options, TrainingOptions)
    return options


def test_what_is_not_said_of_a_training_has_the_template_s_values() -> None:
    assert training() == TrainingOptions(
        train="s3://b/t",
        validation="s3://b/v",
        output="s3://b/o",
        role="arn:aws:iam::123456789012:role/r",
        image="r/ours:1",
        hyperparameters=(),
        environment=(),
        metrics=METRICS,
        model=None,
        checkpoints=None,
        instance_type="ml.g4dn.xlarge",
        instance_count=1,
        output_kms_key=None,
        volume_kms_key=None,
        subnets=(),
        security_groups=(),
        volume_gb=50,
        max_seconds=86_400,
        shuffle_seed=0,
        job_name_prefix="by-hand",
        wait=False,
    )


def test_a_value_may_hold_whatever_comes_after_the_first_equals_sign() -> None:
    options = training(
        "--hyperparameter=image_shape=3,224,224", '--environment=A=["x=y"]', "--hyperparameter=a="
    )
    assert options.hyperparameters == (("image_shape", "3,224,224"), ("a", ""))
    assert options.environment == (("A", '["x=y"]'),)


def test_the_built_in_is_given_no_metric_definitions_unless_asked() -> None:
    image = "--image=811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"
    assert training(image).metrics == ()
    assert training(image, "--metric=a=b([0-9])").metrics == (("a", "b([0-9])"),)


@pytest.mark.parametrize(
    ("given", "sent"), [("group_records=1", True), ("group_records=True", True), ("a=1", False)]
)
def test_groups_are_sent_when_the_algorithm_is_told_so(given: str, *, sent: bool) -> None:
    assert training(f"--hyperparameter={given}").with_groups is sent


def test_hours_may_have_parts() -> None:
    assert training("--max-hours=0.5").max_seconds == 1800


def test_a_key_and_a_network_of_one_s_own_are_read() -> None:
    options = training(
        "--output-kms-key=k1",
        "--volume-kms-key=k2",
        *("--subnet=subnet-1", "--subnet=subnet-2", "--security-group=sg-1"),
    )
    assert (options.output_kms_key, options.volume_kms_key) == ("k1", "k2")
    assert options.subnets == ("subnet-1", "subnet-2")
    assert options.security_groups == ("sg-1",)


def test_a_transform_takes_a_model_that_is_there() -> None:
    assert read_options([*TRANSFORM, "--model-name=m"]) == TransformOptions(
        manifest="s3://b/m",
        output="s3://b/o",
        model_name="m",
        model_data=None,
        role=None,
        image=None,
        instance_type="ml.g4dn.xlarge",
        instance_count=1,
        output_kms_key=None,
        volume_kms_key=None,
        subnets=(),
        security_groups=(),
        max_concurrent_transforms=4,
        answer_detail="plain",
        job_name_prefix="by-hand",
        wait=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required"),
        (["serve"], "invalid choice"),
        (TRAIN[:-1], "--image"),
        ([*TRAIN, "--train=manifest"], "no S3 URI"),
        ([*TRAIN, "--output=s3://b"], "no S3 URI"),
        ([*TRAIN, "--hyperparameter=epochs"], "name=value"),
        ([*TRAIN, "--environment==x"], "name=value"),
        ([*TRAIN, "--instance-count=0"], "above 0"),
        ([*TRAIN, "--volume-gb=1.5"], "whole number"),
        ([*TRAIN, "--max-hours=inf"], "above 0"),
        ([*TRAIN, "--max-hours=nan"], "above 0"),
        ([*TRAIN, "--shuffle-seed=x"], "--shuffle-seed"),
        ([*TRAIN, "--job-name-prefix=a_b"], "hyphens"),
        ([*TRAIN, f"--job-name-prefix={'a' * 21}"], "hyphens"),
        ([*TRAIN, "--subnet=s"], "give --subnet and --security-group"),
        ([*TRAIN, "--security-group=s"], "give --subnet and --security-group"),
        (
            [*TRANSFORM, "--model-name=m", "--subnet=s", "--security-group=g"],
            "--subnet goes with --model-data only",
        ),
        (TRANSFORM, "--model-name"),
        ([*TRANSFORM, "--model-name=m", "--model-data=s3://b/k"], "not allowed"),
        ([*TRANSFORM, "--model-data=s3://b/k", "--image=i"], "--role"),
        ([*TRANSFORM, "--model-data=s3://b/k", "--role=r"], "--image"),
    ],
)
def test_what_cannot_be_used_is_said(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        read_options(arguments)
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


def test_without_the_sdk_the_error_names_the_command() -> None:
    """And a command line is refused without loading anything."""
    code = "import sys; sys.modules['sagemaker'] = None; from training.launch import main; "
    run = subprocess.run(
        [sys.executable, "-c", f"{code}sys.exit(main({TRAIN}))"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "pip install sagemaker==" in run.stderr
    assert "Traceback" not in run.stderr
