"""The real template with a key and a network of the customer's own: a cloud of its own."""

from pathlib import Path

from local.cloud import ACCOUNT, REGION, Cloud

TEMPLATE = Path(__file__).parents[2] / "template.yaml"


def test_it_deploys_with_a_key_a_network_and_reserved_concurrency(tmp_path: Path) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    parameters = {
        "KmsKeyArn": key,
        "SubnetIds": "subnet-0a1b2c3d,subnet-0a1b2c3e",
        "SecurityGroupIds": "sg-0a1b2c3d",
        "ReservedConcurrency": "3",
    }
    with Cloud(template=TEMPLATE, parameters=parameters, state_dir=tmp_path) as cloud:
        sqs, environment = cloud.client("sqs"), cloud.environment("RetrainFunction")
        queue = sqs.get_queue_attributes(
            QueueUrl=cloud.outputs["IntakeQueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        functions = cloud.client("lambda").list_functions()["Functions"]
        reserved = {
            function["FunctionName"]: cloud.client("lambda").get_function_concurrency(
                FunctionName=function["FunctionName"]
            )["ReservedConcurrentExecutions"]
            for function in functions
        }
    assert queue["KmsMasterKeyId"] == key
    assert environment["KMS_KEY_ARN"] == key
    assert environment["SUBNET_IDS"] == "subnet-0a1b2c3d,subnet-0a1b2c3e"
    assert reserved["tomodrop-intake"] == 20
    assert reserved["tomodrop-sweep"] == 3
