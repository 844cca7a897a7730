"""template.yaml with a key and a network of the customer's own, and without."""

from typing import Any

import pytest

from local.errors import ParameterErrors
from local.parameters import resolve_parameters
from tests.template.deployed import ACCOUNT, Deployed, deploy, source
from tests.template.policies import role
from tomodrop.settings import Settings

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
SUBNETS = ["subnet-0a1b2c3d4e5f60718", "subnet-0a1b2c3d"]
GROUPS = ["sg-0a1b2c3d4e5f60718"]
PROTECTED = {
    "KmsKeyArn": KEY,
    "SubnetIds": ",".join(SUBNETS),
    "SecurityGroupIds": ",".join(GROUPS),
    "ReservedConcurrency": "5",
}
STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")


@pytest.fixture(scope="module")
def plain() -> Deployed:
    return deploy()


@pytest.fixture(scope="module")
def protected() -> Deployed:
    return deploy(**PROTECTED)


# ---- the key


@pytest.mark.parametrize("bucket", ["UploadsBucket", "WorkBucket", "PredictionsBucket"])
def test_buckets_are_encrypted_with_the_key(protected: Deployed, bucket: str) -> None:
    encryption = protected.properties(bucket)["BucketEncryption"]
    assert encryption["ServerSideEncryptionConfiguration"] == [
        {
            "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
            "BucketKeyEnabled": True,
        }
    ]


def test_access_logs_are_not_for_s3_delivers_none_to_a_bucket_with_a_key(
    protected: Deployed,
) -> None:
    encryption = protected.properties("AccessLogsBucket")["BucketEncryption"]
    assert "aws:kms" not in str(encryption)


def test_every_queue_has_the_key_and_no_second_encryption(protected: Deployed) -> None:
    queues = protected.of_type("AWS::SQS::Queue")
    assert len(queues) == 3
    for queue in queues.values():
        assert queue["KmsMasterKeyId"] == KEY
        assert "SqsManagedSseEnabled" not in queue


def test_the_table_has_the_key(protected: Deployed) -> None:
    assert protected.properties("BatchTable")["SSESpecification"] == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": KEY,
    }


def test_every_log_group_and_function_has_the_key(protected: Deployed) -> None:
    for group in protected.of_type("AWS::Logs::LogGroup").values():
        assert group["KmsKeyId"] == KEY
    for function in protected.of_type("AWS::Lambda::Function").values():
        assert function["KmsKeyArn"] == KEY


def test_every_topic_has_the_key(protected: Deployed) -> None:
    for topic in protected.of_type("AWS::SNS::Topic").values():
        assert topic["KmsMasterKeyId"] == KEY


@pytest.mark.parametrize("step", STEPS)
def test_a_step_may_use_the_key_through_its_services_only(protected: Deployed, step: str) -> None:
    allows = role(protected, f"{step.capitalize()}Role").allows
    through_s3 = {"kms_ViaService": "s3.us-east-1.amazonaws.com"}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        assert allows(action, KEY, **through_s3)
        assert not allows(action, KEY)
        assert not allows(action, KEY, kms_ViaService="s3.eu-west-1.amazonaws.com")
        assert not allows(action, KEY.replace("1111", "9999"), **through_s3)
    assert not allows("kms:CreateGrant", KEY, **through_s3)


def test_jobs_may_use_the_key_and_grant_it_to_services_only(protected: Deployed) -> None:
    allows = role(protected, "SageMakerRole").allows
    assert allows("kms:Decrypt", KEY)
    assert allows("kms:GenerateDataKey", KEY)
    assert allows("kms:CreateGrant", KEY, kms_GrantIsForAWSResource="true")
    assert not allows("kms:CreateGrant", KEY, kms_GrantIsForAWSResource="false")
    assert not allows("kms:CreateGrant", KEY)


def test_schedules_may_fill_the_encrypted_dead_letter_queue(protected: Deployed) -> None:
    allows = role(protected, "SchedulerRole").allows
    assert allows("kms:GenerateDataKey", KEY, kms_ViaService="sqs.us-east-1.amazonaws.com")
    assert not allows("kms:GenerateDataKey", KEY, kms_ViaService="s3.us-east-1.amazonaws.com")


# ---- the network


def test_every_function_is_in_the_subnets(protected: Deployed) -> None:
    for function in protected.of_type("AWS::Lambda::Function").values():
        assert function["VpcConfig"] == {"SubnetIds": SUBNETS, "SecurityGroupIds": GROUPS}


@pytest.mark.parametrize("step", STEPS)
def test_lambda_may_make_interfaces_and_code_in_a_function_may_not(
    protected: Deployed, step: str
) -> None:
    allows = role(protected, f"{step.capitalize()}Role").allows
    interface = f"arn:aws:ec2:us-east-1:{ACCOUNT}:network-interface/eni-1"
    own_code = {"lambda_SourceFunctionArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:x"}
    for action in ("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"):
        assert allows(action, interface)
        assert not allows(action, interface, **own_code)
    assert allows("ec2:DescribeNetworkInterfaces", "*")
    assert not allows("ec2:DescribeNetworkInterfaces", "*", **own_code)
    assert not allows("ec2:CreateNetworkInterface", interface.replace(ACCOUNT, "210987654321"))


def test_jobs_reach_the_subnets(protected: Deployed) -> None:
    allows = role(protected, "SageMakerRole").allows
    assert allows("ec2:CreateNetworkInterface", f"arn:aws:ec2:us-east-1:{ACCOUNT}:subnet/a")
    assert allows("ec2:DescribeSubnets", "*")


# ---- concurrency


def test_each_function_gets_its_reserve_and_intake_that_of_its_pollers(
    protected: Deployed,
) -> None:
    reserved = {
        name: str(function["ReservedConcurrentExecutions"])
        for name, function in protected.of_type("AWS::Lambda::Function").items()
    }
    others = {f"{step.capitalize()}Function": "5" for step in STEPS}
    assert reserved == others | {"IntakeFunction": "20"}


# ---- neither


def test_without_them_nothing_of_it_is_there(plain: Deployed) -> None:
    text = str(plain.resources)
    for word in ("kms:", "aws:kms", "KmsMasterKeyId", "KmsKeyArn'", "VpcConfig", "ec2:"):
        assert word not in text
    assert "ReservedConcurrentExecutions" not in text


def test_the_settings_say_the_same(plain: Deployed, protected: Deployed) -> None:
    without = Settings.from_environment(plain.environment())
    given = Settings.from_environment(protected.environment())
    assert (without.kms_key_arn, without.subnet_ids, without.security_group_ids) == ("", (), ())
    assert given.kms_key_arn == KEY
    assert given.subnet_ids == tuple(SUBNETS)
    assert given.security_group_ids == tuple(GROUPS)


# ---- values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KmsKeyArn", "alias/aws/s3"),
        ("KmsKeyArn", f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/tomodrop"),
        ("KmsKeyArn", "11111111-2222-3333-4444-555555555555"),
        ("SubnetIds", "subnet-xyz"),
        ("SubnetIds", "subnet-0a1b2c3d,"),
        ("SubnetIds", ",".join(["subnet-0a1b2c3d"] * 7)),
        ("SecurityGroupIds", "default"),
        ("SecurityGroupIds", "sg-0a1b2c3d sg-0a1b2c3e"),
        ("ReservedConcurrency", "-1"),
        ("ReservedConcurrency", "101"),
    ],
)
def test_a_value_that_aws_would_refuse_late_is_refused_early(name: str, value: str) -> None:
    with pytest.raises(ParameterErrors, match=name):
        resolve_parameters(source()["Parameters"], {name: value})


@pytest.mark.parametrize("name", ["KmsKeyArn", "SubnetIds", "SecurityGroupIds"])
def test_a_value_of_the_right_form_is_taken(name: str) -> None:
    taken: dict[str, Any] = resolve_parameters(source()["Parameters"], {name: PROTECTED[name]})
    assert taken[name] == PROTECTED[name]


def test_half_a_network_is_refused_before_anything_is_made() -> None:
    rule = source()["Rules"]["SubnetsAndSecurityGroupsGoTogether"]
    [assertion] = rule["Assertions"]
    neither, both = assertion["Assert"]["Fn::Or"]
    empty = [{"Fn::Equals": [{"Ref": name}, ""]} for name in ("SubnetIds", "SecurityGroupIds")]
    assert neither == {"Fn::And": empty}
    assert both == {"Fn::And": [{"Fn::Not": [condition]} for condition in empty]}
