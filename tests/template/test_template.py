"""template.yaml: what is deployed, and what can be set."""

import ast
import json
import re
import tomllib
from typing import Any

import pytest

from local.errors import ParameterErrors
from local.parameters import resolve_parameters
from tests.template.deployed import ACCOUNT, ROOT, Deployed, deploy, source
from tomodrop.settings import Settings

STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")
BUCKETS = ("UploadsBucket", "WorkBucket", "PredictionsBucket")
QUEUES = ("IntakeQueue", "IntakeDeadLetterQueue", "EventDeadLetterQueue")


@pytest.fixture(scope="module")
def stack() -> Deployed:
    return deploy()


# ---- functions


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_the_handler_of_its_module(stack: Deployed, step: str) -> None:
    function = stack.properties(f"{step.capitalize()}Function")
    module, name = function["Handler"].split(".")
    tree = ast.parse((ROOT / "functions" / f"{module}.py").read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert module == step
    assert name in defined
    assert function["Runtime"] == "python3.13"
    assert function["TracingConfig"] == {"Mode": "Active"}


def test_no_step_is_missing_and_none_is_left_over(stack: Deployed) -> None:
    assert set(stack.of_type("AWS::Lambda::Function")) == {
        f"{step.capitalize()}Function" for step in STEPS
    }
    modules = {path.stem for path in (ROOT / "functions").glob("*.py")}
    assert modules == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_bundle_has_a_target_in_the_functions_makefile(step: str) -> None:
    written = source()["Resources"][f"{step.capitalize()}Function"]
    makefile = (ROOT / "functions" / "Makefile").read_text()
    assert written["Metadata"] == {"BuildMethod": "makefile"}
    assert re.search(rf"^build-{step.capitalize()}Function:$", makefile, re.MULTILINE)


@pytest.mark.parametrize("step", STEPS)
def test_logs_go_to_a_group_that_forgets(stack: Deployed, step: str) -> None:
    group = stack.properties(f"{step.capitalize()}Function")["LoggingConfig"]["LogGroup"]
    assert stack.properties(f"{step.capitalize()}Logs") == {
        "LogGroupName": group,
        "RetentionInDays": "30",
    }


# ---- settings


@pytest.mark.parametrize("step", STEPS)
def test_each_function_gets_the_settings_it_reads_and_no_others(stack: Deployed, step: str) -> None:
    environment = stack.environment(f"{step.capitalize()}Function")
    ours = {name for name in environment if not name.startswith("POWERTOOLS_")}
    assert ours == {name.upper() for name in Settings.model_fields}


def test_the_defaults_are_settings(stack: Deployed) -> None:
    settings = Settings.from_environment(stack.environment())
    assert settings.uploads_bucket == f"tomodrop-uploads-{ACCOUNT}"
    assert settings.window_minutes == 5
    assert settings.class_names == ("non_covid", "covid")
    assert settings.image_shape == (3, 224, 224)
    assert dict(settings.hyperparameters) == {
        "num_layers": "152",
        "epochs": "50",
        "mini_batch_size": "32",
        "learning_rate": "0.001",
        "optimizer": "sgd",
        "momentum": "0.9",
        "weight_decay": "0.0001",
        "lr_scheduler_factor": "0.1",
        "use_pretrained_model": "1",
        "early_stopping": "False",
        "early_stopping_min_epochs": "10",
        "early_stopping_patience": "5",
        "early_stopping_tolerance": "0",
        "precision_dtype": "float32",
    }
    assert settings.extra_hyperparameters == ()


def test_hyperparameters_with_commas_arrive_whole() -> None:
    stack = deploy(LrSchedulerStep="20,40", ExtraHyperparameters='augmentation=ct,views="1,2"')
    settings = Settings.from_environment(stack.environment())
    assert dict(settings.hyperparameters)["lr_scheduler_step"] == "20,40"
    assert settings.extra_hyperparameters == (("augmentation", "ct"), ("views", "1,2"))


def test_the_environment_fits_into_lambdas_four_kilobytes(stack: Deployed) -> None:
    environment = stack.environment()
    # Names as long as they may be: a stack's has 128 characters, and 12 parameters may be as long.
    assert len(json.dumps(environment)) < 4096 - 6 * 128


# ---- parameters


def parameters() -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = source()["Parameters"]
    return declared


@pytest.mark.parametrize("name", parameters())
def test_a_parameter_is_described_bounded_and_in_a_group(name: str) -> None:
    declared = parameters()[name]
    listed = [
        entry
        for group in source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for entry in group["Parameters"]
    ]
    bounded = "AllowedValues" in declared or (
        {"MinValue", "MaxValue"} <= declared.keys()
        if declared["Type"] == "Number"
        else "AllowedPattern" in declared
    )
    assert len(declared["Description"]) > 20
    assert bounded
    assert listed.count(name) == 1
    assert "Default" in declared


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WindowMinutes", "0"),
        ("IntakeTimeoutSeconds", "7"),
        ("JobNamePrefix", "Tomodrop"),
        ("JobNamePrefix", "-tomodrop"),
        ("JobNamePrefix", "a-prefix-that-is-too-long"),
        ("DispatchSchedule", "every minute"),
        ("ScheduleTimezone", "Europe / Berlin"),
        ("ClassNames", "covid"),
        ("ClassNames", "covid,"),
        ("ClassNames", "a b,c"),
        ("ImageShape", "1,224,224"),
        ("ImageShape", "3,224"),
        ("AlgorithmImage", "no-registry"),
        ("TrainingInstanceType", "g4dn.xlarge"),
        ("MaxConcurrentTransforms", "17"),
        ("NumLayers", "151"),
        ("LrSchedulerStep", "10,20,"),
        ("AugmentationType", "flip"),
        ("ExtraHyperparameters", "augmentation"),
        ("ExtraHyperparameters", "views=1,2"),
        ("LogRetentionDays", "31"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ParameterErrors, match=name):
        resolve_parameters(parameters(), {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WindowMinutes", "0.1"),
        ("RetrainSchedule", "cron(0 3 ? * MON-FRI *)"),
        ("ScheduleTimezone", "America/Argentina/Buenos_Aires"),
        ("ClassNames", "normal,bacterial,viral"),
        ("ImageShape", "3,96,96"),
        ("AlgorithmImage", f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/tomodrop:1.2"),
        ("AlgorithmImage", f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/a/b@sha256:{'0' * 64}"),
        ("TrainingInstanceType", "ml.p4d.24xlarge"),
        ("ExtraHyperparameters", "trainable_stages=1,augmentation=ct"),
    ],
)
def test_a_value_within_bounds_is_taken(name: str, value: str) -> None:
    assert resolve_parameters(parameters(), {name: value})[name] == value


def test_sam_config_names_the_stack_that_everything_else_does() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    assert config["default"]["global"]["parameters"]["stack_name"] == "tomodrop"
    assert config["default"]["deploy"]["parameters"]["capabilities"] == "CAPABILITY_IAM"


# ---- the algorithm's image


@pytest.mark.parametrize(
    ("region", "image"),
    [
        ("us-east-1", "811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1"),
        ("eu-central-1", "813361260812.dkr.ecr.eu-central-1.amazonaws.com/image-classification:1"),
        ("cn-north-1", "390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/image-classification:1"),
    ],
)
def test_the_built_in_algorithm_of_the_region_is_the_default(region: str, image: str) -> None:
    assert deploy(region).environment()["ALGORITHM_IMAGE"] == image


def test_an_image_of_ones_own_takes_its_place() -> None:
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tomodrop:3"
    assert deploy(AlgorithmImage=image).environment()["ALGORITHM_IMAGE"] == image


def test_the_mapping_knows_every_region_that_offers_the_algorithm() -> None:
    accounts = {
        region: entry["Account"]
        for region, entry in source()["Mappings"]["BuiltInAlgorithm"].items()
    }
    offered = [account for account in accounts.values() if account != "none"]
    assert len(offered) == 37
    assert len(set(offered)) == 37
    assert all(re.fullmatch(r"\d{12}", account) for account in offered)


def test_a_region_without_the_algorithm_asks_for_an_image() -> None:
    accounts = source()["Mappings"]["BuiltInAlgorithm"]
    rule = source()["Rules"]["TheRegionOffersTheAlgorithm"]
    [assertion] = rule["Assertions"]
    [refused, _] = assertion["Assert"]["Fn::Not"][0]["Fn::Contains"]
    assert refused == [region for region, entry in accounts.items() if entry["Account"] == "none"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "AlgorithmImage"}, ""]}
    assert "AlgorithmImage" in assertion["AssertDescription"]


def test_such_a_region_takes_an_image_of_ones_own() -> None:
    image = f"{ACCOUNT}.dkr.ecr.mx-central-1.amazonaws.com/tomodrop:3"
    assert deploy("mx-central-1", AlgorithmImage=image).environment()["ALGORITHM_IMAGE"] == image


# ---- buckets


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_is_private_versioned_and_encrypted(stack: Deployed, bucket: str) -> None:
    properties = stack.properties(bucket)
    [encryption] = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_answers_over_tls_only(stack: Deployed, bucket: str) -> None:
    policy = stack.properties(f"{bucket}Policy")
    name = stack.properties(bucket)["BucketName"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert policy["Bucket"] == name
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == "*"
    assert statement["Resource"] == [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_outlives_the_stack_and_forgets_old_versions(stack: Deployed, bucket: str) -> None:
    written = source()["Resources"][bucket]
    rules = stack.properties(bucket)["LifecycleConfiguration"]["Rules"]
    assert written["DeletionPolicy"] == "RetainExceptOnCreate"
    assert written["UpdateReplacePolicy"] == "Retain"
    assert any("NoncurrentVersionExpiration" in rule for rule in rules)
    assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


def test_only_batches_expire(stack: Deployed) -> None:
    expiring = [
        (bucket, rule.get("Prefix"), rule["ExpirationInDays"])
        for bucket in BUCKETS
        for rule in stack.properties(bucket)["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    ]
    assert expiring == [("WorkBucket", "batches/", "14")]


# ---- queues and the way of events


def test_uploads_are_announced_to_the_queue(stack: Deployed) -> None:
    notified = stack.properties("UploadsBucket")["NotificationConfiguration"]
    prefixes = [
        (entry["Event"], entry["Queue"], entry["Filter"]["S3Key"]["Rules"])
        for entry in notified["QueueConfigurations"]
    ]
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:tomodrop-IntakeQueue"
    assert [rules for _, _, rules in prefixes] == [
        [{"Name": "prefix", "Value": "incoming/"}],
        [{"Name": "prefix", "Value": "labelled/"}],
    ]
    assert all(event == "s3:ObjectCreated:*" for event, _, _ in prefixes)
    assert all(arn.startswith(queue) for _, arn, _ in prefixes)
    assert source()["Resources"]["UploadsBucket"]["DependsOn"] == "IntakeQueuePolicy"


def test_only_the_uploads_bucket_may_announce(stack: Deployed) -> None:
    allowed = [
        statement
        for statement in stack.properties("IntakeQueuePolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    [statement] = allowed
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::tomodrop-uploads-{ACCOUNT}"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_is_encrypted(stack: Deployed, queue: str) -> None:
    assert stack.properties(queue)["SqsManagedSseEnabled"] is True


def test_a_message_stays_hidden_for_six_time_outs_and_the_longest_window() -> None:
    longest_window = parameters()["IntakeBatchingWindowSeconds"]["MaxValue"]
    hidden = source()["Mappings"]["IntakeVisibility"]
    assert {int(timeout): entry["Seconds"] for timeout, entry in hidden.items()} == {
        timeout: 6 * timeout + longest_window
        for timeout in parameters()["IntakeTimeoutSeconds"]["AllowedValues"]
    }


def test_the_queue_follows_the_functions_time_out() -> None:
    stack = deploy(IntakeTimeoutSeconds="900")
    assert stack.properties("IntakeFunction")["Timeout"] == "900"
    assert stack.properties("IntakeQueue")["VisibilityTimeout"] == 5430


def test_messages_that_fail_are_set_aside(stack: Deployed) -> None:
    [mapping] = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    redrive = stack.properties("IntakeQueue")["RedrivePolicy"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "IntakeDeadLetterQueue" in redrive["deadLetterTargetArn"]
    assert redrive["maxReceiveCount"] == 5


@pytest.mark.parametrize(
    ("rule", "function", "kind", "prefix"),
    [
        ("CollectFunctionTransformJobEnded", "collect", "Transform", "tomodrop-"),
        ("PromoteFunctionTrainingJobEnded", "promote", "Training", "tomodrop-train-"),
    ],
)
def test_the_end_of_a_job_wakes_its_step(
    stack: Deployed, rule: str, function: str, kind: str, prefix: str
) -> None:
    properties = stack.properties(rule)
    [target] = properties["Targets"]
    assert properties["EventPattern"] == {
        "source": ["aws.sagemaker"],
        "detail-type": [f"SageMaker {kind} Job State Change"],
        "detail": {
            f"{kind}JobStatus": ["Completed", "Failed", "Stopped"],
            f"{kind}JobName": [{"prefix": prefix}],
        },
    }
    assert target["Arn"].endswith(f":function:tomodrop-{function}")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "EventDeadLetterQueue" in target["DeadLetterConfig"]["Arn"]


@pytest.mark.parametrize(
    ("step", "expression"),
    [
        ("dispatch", "rate(1 minute)"),
        ("retrain", "cron(0 3 ? * SUN *)"),
        ("sweep", "rate(30 minutes)"),
    ],
)
def test_a_schedule_calls_its_step_with_the_time_it_was_due(
    stack: Deployed, step: str, expression: str
) -> None:
    schedule = stack.properties(f"{step.capitalize()}FunctionSchedule")
    target = schedule["Target"]
    assert schedule["ScheduleExpression"] == expression
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert json.loads(target["Input"]) == {"scheduled_time": "<aws.scheduler.scheduled-time>"}
    assert target["Arn"].endswith(f":function:tomodrop-{step}")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert "EventDeadLetterQueue" in target["DeadLetterConfig"]["Arn"]


def test_schedules_follow_their_parameters() -> None:
    stack = deploy(
        RetrainState="DISABLED",
        RetrainSchedule="cron(30 4 * * ? *)",
        ScheduleTimezone="Asia/Tokyo",
    )
    retrain = stack.properties("RetrainFunctionSchedule")
    assert retrain["State"] == "DISABLED"
    assert retrain["ScheduleExpression"] == "cron(30 4 * * ? *)"
    assert retrain["ScheduleExpressionTimezone"] == "Asia/Tokyo"
    assert "State" not in stack.properties("DispatchFunctionSchedule")


# ---- state


def test_the_batch_table_finds_pending_batches_and_forgets_old_ones(stack: Deployed) -> None:
    table = stack.properties("BatchTable")
    [index] = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "pending"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["pending", "batch_id"]
    assert index["Projection"] == {"ProjectionType": "ALL"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}


def test_no_model_is_live_at_first(stack: Deployed) -> None:
    assert stack.properties("LiveModel")["Value"] == "none"
    assert stack.properties("LiveModel")["Name"] == stack.outputs["LiveModelParameter"]
