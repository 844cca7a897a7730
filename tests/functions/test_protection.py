"""A key and a network of the customer's own, in each request that can carry them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.functions.builders import ENVIRONMENT, JOB
from tests.functions.test_transform_request import MODEL_NAME, faults
from tomodrop.errors import SettingsError
from tomodrop.instances import INSTANCES, Choice
from tomodrop.models import model_request
from tomodrop.protection import volume_key
from tomodrop.settings import Settings
from tomodrop.training_jobs import training_job_name, training_request
from tomodrop.transform_jobs import transform_request

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
TRAINING = training_job_name("tomodrop", datetime(2026, 11, 22, 3, tzinfo=UTC))
NETWORK = {
    "SecurityGroupIds": ["sg-0a1b2c3d"],
    "Subnets": ["subnet-0a1b2c3d", "subnet-0a1b2c3e"],
}
DESCRIBED = {
    "TrainingJobName": TRAINING,
    "AlgorithmSpecification": {"TrainingImage": "image"},
    "ModelArtifacts": {"S3ModelArtifacts": "s3://work/model.tar.gz"},
}


def protected(**changes: str) -> Settings:
    return Settings.from_environment(
        ENVIRONMENT
        | {
            "KMS_KEY_ARN": KEY,
            "SUBNET_IDS": "subnet-0a1b2c3d,subnet-0a1b2c3e",
            "SECURITY_GROUP_IDS": "sg-0a1b2c3d",
        }
        | changes
    )


def requests(settings: Settings, instance_type: str) -> dict[str, dict[str, Any]]:
    """The three requests by operation, for instances of one type."""
    settings = settings.model_copy(update={"training_instance_type": instance_type})
    choice = Choice(instance_type, 1, minutes=None, usd=None)
    return {
        "CreateTrainingJob": training_request(settings, TRAINING, 10, "d" * 64),
        "CreateTransformJob": transform_request(settings, JOB, MODEL_NAME, choice),
        "CreateModel": model_request(settings, DESCRIBED),
    }


def test_each_request_is_as_without_them_and_has_them_besides(settings: Settings) -> None:
    expected = requests(settings, "ml.c5.xlarge")
    expected["CreateTrainingJob"]["OutputDataConfig"]["KmsKeyId"] = KEY
    expected["CreateTrainingJob"]["ResourceConfig"]["VolumeKmsKeyId"] = KEY
    expected["CreateTrainingJob"]["VpcConfig"] = NETWORK
    expected["CreateTransformJob"]["TransformOutput"]["KmsKeyId"] = KEY
    expected["CreateTransformJob"]["TransformResources"]["VolumeKmsKeyId"] = KEY
    expected["CreateModel"]["VpcConfig"] = NETWORK
    assert requests(protected(), "ml.c5.xlarge") == expected


def test_sagemaker_s_model_accepts_them() -> None:
    for operation, request in requests(protected(), "ml.c5.xlarge").items():
        assert faults(operation, request) == ""


def test_without_them_nothing_of_it_is_sent(settings: Settings) -> None:
    text = str(requests(settings, "ml.c5.xlarge"))
    assert "Kms" not in text
    assert "Vpc" not in text


def test_several_instances_talk_encrypted_and_one_talks_to_nobody() -> None:
    one, two = (
        training_request(protected(TRAINING_INSTANCE_COUNT=count), TRAINING, 10, "d" * 64)
        for count in ("1", "2")
    )
    assert one["EnableInterContainerTrafficEncryption"] is False
    assert two["EnableInterContainerTrafficEncryption"] is True
    assert one["EnableNetworkIsolation"] is two["EnableNetworkIsolation"] is True


@pytest.mark.parametrize(
    "name",
    [
        *("ml.g4dn.xlarge", "ml.g5.xlarge", "ml.g6e.2xlarge", "ml.gr6.4xlarge", "ml.m5d.large"),
        *(
            "ml.c5d.xlarge",
            "ml.c6id.xlarge",
            "ml.r5dn.large",
            "ml.p3dn.24xlarge",
            "ml.p4d.24xlarge",
        ),
        *("ml.p4de.24xlarge", "ml.p5.48xlarge", "ml.p5en.48xlarge", "ml.p6-b200.48xlarge"),
        *("ml.trn1.2xlarge", "ml.i3en.large"),
    ],
)
def test_disks_of_the_machines_own_take_no_key(name: str) -> None:
    assert volume_key(protected(), name) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("ml.m5.large", "ml.m5.xlarge", "ml.m4.xlarge", "ml.c5.2xlarge", "ml.c5n.18xlarge"),
        *("ml.c6i.xlarge", "ml.p2.xlarge", "ml.p3.2xlarge", "ml.r5.large", "ml.t3.medium"),
    ],
)
def test_disks_that_are_attached_take_it(name: str) -> None:
    assert volume_key(protected(), name) == {"VolumeKmsKeyId": KEY}


def test_of_each_type_that_we_choose_from_it_is_known() -> None:
    keyless = {name for name in INSTANCES if not volume_key(protected(), name)}
    assert keyless == {"ml.g4dn.xlarge", "ml.g5.xlarge"}


@pytest.mark.parametrize("missing", ["SUBNET_IDS", "SECURITY_GROUP_IDS"])
def test_half_a_network_is_refused(missing: str) -> None:
    with pytest.raises(SettingsError, match="SubnetIds and SecurityGroupIds, or neither"):
        protected(**{missing: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KMS_KEY_ARN", "alias/tomodrop"),
        ("SUBNET_IDS", "subnet-0a1b2c3d,subnet-0a1b2c3d"),
        ("SUBNET_IDS", "subnet-0a1b2c3d,"),
        ("SECURITY_GROUP_IDS", ","),
    ],
)
def test_what_names_no_key_or_network_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        protected(**{name: value})
