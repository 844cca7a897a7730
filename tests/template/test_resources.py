"""template.yaml: buckets, queues, events and state, as they are deployed."""

import json

import pytest

from tests.template.deployed import ACCOUNT, Deployed, deploy, source
from tests.template.policies import as_list

DATA_BUCKETS = ("UploadsBucket", "WorkBucket", "PredictionsBucket")
BUCKETS = (*DATA_BUCKETS, "AccessLogsBucket")
QUEUES = ("IntakeQueue", "IntakeDeadLetterQueue", "EventDeadLetterQueue")


@pytest.fixture(scope="module")
def stack() -> Deployed:
    return deploy()


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
    [statement] = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Sid"] == "OnlyEncryptedConnections"
    ]
    assert policy["Bucket"] == name
    assert statement["Action"] == "s3:*"
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


def test_only_batches_and_access_logs_expire(stack: Deployed) -> None:
    expiring = [
        (bucket, rule.get("Prefix"), rule["ExpirationInDays"])
        for bucket in BUCKETS
        for rule in stack.properties(bucket)["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    ]
    assert expiring == [
        ("WorkBucket", "batches/", "14"),
        ("WorkBucket", "evaluations/", "14"),
        ("AccessLogsBucket", None, "30"),
    ]


@pytest.mark.parametrize("bucket", DATA_BUCKETS)
def test_who_asked_a_bucket_for_what_is_logged(stack: Deployed, bucket: str) -> None:
    name = stack.properties(bucket)["BucketName"]
    logging = stack.properties(bucket)["LoggingConfiguration"]
    assert logging["DestinationBucketName"] == f"tomodrop-access-logs-{ACCOUNT}"
    [allowed] = [
        statement
        for statement in stack.properties("AccessLogsBucketPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert allowed["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert f"arn:aws:s3:::{name}" in allowed["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert len(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == len(DATA_BUCKETS)
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


@pytest.mark.parametrize(
    ("bucket", "guarded", "writers"),
    [
        (
            "WorkBucket",
            ["batches/*", "dataset/*", "evaluations/*", "training/tomodrop-train-*"],
            {"Intake", "Dispatch", "Collect", "Retrain", "Promote", "Sweep", "SageMaker"},
        ),
        (
            "PredictionsBucket",
            ["*"],
            {"Intake", "Dispatch", "Collect", "Retrain", "Promote", "Sweep"},
        ),
    ],
)
def test_slices_models_and_results_are_written_by_the_stack_only(
    stack: Deployed, bucket: str, guarded: list[str], writers: set[str]
) -> None:
    [statement] = [
        statement
        for statement in stack.properties(f"{bucket}Policy")["PolicyDocument"]["Statement"]
        if statement["Sid"] == "OnlyTheStackWrites"
    ]
    arn = f"arn:aws:s3:::{stack.properties(bucket)['BucketName']}"
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Action"] == "s3:PutObject"
    assert as_list(statement["Resource"]) == [f"{arn}/{prefix}" for prefix in guarded]
    assert set(statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]) == {
        f"arn:aws:iam::{ACCOUNT}:role/tomodrop-{name}Role-{suffix}"
        for name, suffix in role_suffixes(stack, writers)
    }


def role_suffixes(stack: Deployed, names: set[str]) -> list[tuple[str, str]]:
    """A role without a name of its own has the one that its stack composes."""
    return [(name, stack.properties(f"{name}Role")["RoleName"].rsplit("-", 1)[1]) for name in names]


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
def test_a_queue_is_encrypted_and_answers_over_tls_only(stack: Deployed, queue: str) -> None:
    assert stack.properties(queue)["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in stack.properties(queue)
    [statement] = [
        statement
        for policy in stack.of_type("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Resource"].endswith(f":{stack.properties(queue)['QueueName']}")
    ]
    assert (statement["Principal"], statement["Action"]) == ("*", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


@pytest.mark.parametrize("policy", ["IntakeQueue", "IntakeDeadLetterQueue", "DeadLetterQueues"])
def test_a_queues_policy_speaks_of_its_queue(stack: Deployed, policy: str) -> None:
    properties = stack.properties(f"{policy}Policy")
    [url] = properties["Queues"]
    names = {
        statement["Resource"].rsplit(":", 1)[1]
        for statement in properties["PolicyDocument"]["Statement"]
    }
    assert names == {url.rsplit("/", 1)[-1]}


def test_a_message_stays_hidden_for_six_time_outs_and_the_longest_window() -> None:
    declared = source()["Parameters"]
    longest_window = declared["IntakeBatchingWindowSeconds"]["MaxValue"]
    hidden = source()["Mappings"]["IntakeVisibility"]
    assert {int(timeout): entry["Seconds"] for timeout, entry in hidden.items()} == {
        timeout: 6 * timeout + longest_window
        for timeout in declared["IntakeTimeoutSeconds"]["AllowedValues"]
    }


def test_the_queue_follows_the_functions_time_out() -> None:
    stack = deploy(IntakeTimeoutSeconds="900")
    assert stack.properties("IntakeFunction")["Timeout"] == "900"
    assert stack.properties("IntakeQueue")["VisibilityTimeout"] == 5430


def test_intake_has_the_memory_of_a_decoder_and_some_of_its_own() -> None:
    allowed = source()["Parameters"]["DecodeMemoryMb"]["AllowedValues"]
    memory = source()["Mappings"]["IntakeMemory"]
    assert {int(decoder): entry["Mb"] for decoder, entry in memory.items()} == {
        decoder: max(1769, decoder + 1024) for decoder in allowed
    }
    assert deploy(DecodeMemoryMb="4096").properties("IntakeFunction")["MemorySize"] == 5120


def test_messages_that_fail_are_set_aside(stack: Deployed) -> None:
    [mapping] = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    redrive = stack.properties("IntakeQueue")["RedrivePolicy"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "IntakeDeadLetterQueue" in redrive["deadLetterTargetArn"]
    assert redrive["maxReceiveCount"] == 5


@pytest.mark.parametrize(
    ("rule", "function", "kind", "prefix"),
    [
        ("CollectFunctionTransformJobEnded", "collect", "Transform", "tomodrop-2"),
        ("PromoteFunctionEvaluationJobEnded", "promote", "Transform", "tomodrop-eval-"),
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


# ---- notices


def test_this_accounts_alarms_may_publish_and_only_over_tls(stack: Deployed) -> None:
    name = stack.properties("Notices")["TopicName"]
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}"
    allow, deny = stack.properties("NoticesPolicy")["PolicyDocument"]["Statement"]
    assert stack.properties("NoticesPolicy")["Topics"] == [topic]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert (deny["Effect"], deny["Action"], deny["Resource"]) == ("Deny", "sns:Publish", topic)
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_an_address_is_subscribed_only_if_one_is_given() -> None:
    email = deploy(NoticeEmail="ward@example.org").properties("NoticesByEmail")
    assert (email["Protocol"], email["Endpoint"]) == ("email", "ward@example.org")
    assert source()["Resources"]["NoticesByEmail"]["Condition"] == "HasNoticeEmail"
    assert source()["Conditions"]["HasNoticeEmail"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "NoticeEmail"}, ""]}]
    }
