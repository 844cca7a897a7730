"""Every step may do what it does, and nothing else."""

from itertools import pairwise
from typing import Any

import pytest

from tests.template.calls import actions_of
from tests.template.deployed import ACCOUNT, TEMPLATE, Deployed, deploy
from tests.template.policies import Role, as_list, role

STEPS = ("intake", "dispatch", "collect", "retrain", "promote", "sweep")

UPLOADS = f"arn:aws:s3:::tomodrop-uploads-{ACCOUNT}"
WORK = f"arn:aws:s3:::tomodrop-work-{ACCOUNT}"
PREDICTIONS = f"arn:aws:s3:::tomodrop-predictions-{ACCOUNT}"
SAGEMAKER = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
BATCH = "20261124T153900Z"
JOB = f"tomodrop-{BATCH}-0001-1"
TRAINING = "tomodrop-train-20261122T030000Z"
EVALUATION = "tomodrop-eval-20261122t030000z-challenger-0a1b2c-1"
NOTICES = deploy().environment()["NOTICES_TOPIC_ARN"]
LIVE_MODEL = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/tomodrop/live-model"
OURS = {"iam_PassedToService": "sagemaker.amazonaws.com"}

# Needed by no line of the steps' code: Lambda's pollers, logs, traces and dead letters; reading a
# version (get_object with VersionId); and the right to list where absent must not look forbidden.
OF_THE_PLATFORM = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "sqs:SendMessage",
}
BESIDES = {
    "intake": {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "s3:GetObjectVersion",
        "s3:ListBucket",
    },
    "promote": {"s3:ListBucket"},
}
# AWS has no resource narrower than * for these.
WITHOUT_RESOURCE = {
    "xray:PutTraceSegments": "a trace is not a resource",
    "xray:PutTelemetryRecords": "a trace is not a resource",
    "ecr:GetAuthorizationToken": "a token is for the registry",
    "cloudwatch:PutMetricData": "a metric is not a resource; narrowed by its namespace",
    "sagemaker:ListTrainingJobs": "a list is not a resource",
    "sagemaker:ListTransformJobs": "a list is not a resource",
}


@pytest.fixture(scope="module")
def stack() -> Deployed:
    return deploy()


@pytest.fixture(scope="module")
def roles(stack: Deployed) -> dict[str, Role]:
    return {step: role(stack, f"{step.capitalize()}Role") for step in STEPS} | {
        "sagemaker": role(stack, "SageMakerRole"),
        "scheduler": role(stack, "SchedulerRole"),
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_step_may_do_what_its_code_does(roles: dict[str, Role], step: str) -> None:
    assert actions_of(step) - roles[step].actions == set()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_may_do_nothing_that_its_code_does_not(roles: dict[str, Role], step: str) -> None:
    known = actions_of(step) | OF_THE_PLATFORM | BESIDES.get(step, set())
    assert roles[step].actions - known == set()


@pytest.mark.parametrize(
    ("who", "action", "resource"),
    [
        ("intake", "s3:GetObjectVersion", f"{UPLOADS}/incoming/a/b c.png"),
        ("intake", "s3:GetObject", f"{UPLOADS}/labelled/covid/p01/c.png"),
        ("intake", "s3:PutObject", f"{WORK}/batches/{BATCH}/slices/0f-00000.png"),
        ("intake", "s3:PutObject", f"{WORK}/batches/{BATCH}/index/0f.jsonl"),
        ("intake", "s3:PutObject", f"{WORK}/dataset/slices/0f-00000.png"),
        ("intake", "s3:PutObject", f"{WORK}/dataset/index/0f.jsonl"),
        ("intake", "s3:PutObject", f"{PREDICTIONS}/rejected/a/b c.png.json"),
        ("intake", "s3:DeleteObject", f"{PREDICTIONS}/predictions/a/b c.png.json"),
        ("intake", "s3:GetObject", f"{PREDICTIONS}/predictions/a/b c.png.map.png"),
        ("intake", "s3:DeleteObject", f"{PREDICTIONS}/predictions/a/b c.png.map.png"),
        ("intake", "s3:ListBucket", UPLOADS),
        ("intake", "s3:ListBucket", PREDICTIONS),
        ("dispatch", "s3:GetObject", f"{WORK}/batches/{BATCH}/index/0f.jsonl"),
        ("dispatch", "s3:PutObject", f"{WORK}/batches/{BATCH}/parts/0001/1.jsonl"),
        ("dispatch", "s3:GetObject", f"{WORK}/batches/{BATCH}/parts/0001/1.jsonl"),
        ("dispatch", "s3:PutObject", f"{WORK}/batches/{BATCH}/jobs/{JOB}/manifest.json"),
        ("dispatch", "s3:GetObject", f"{WORK}/training/{TRAINING}/model.json"),
        ("dispatch", "s3:ListBucket", WORK),
        ("dispatch", "ssm:GetParameter", LIVE_MODEL),
        ("dispatch", "sagemaker:CreateTransformJob", f"{SAGEMAKER}:transform-job/{JOB.lower()}"),
        ("collect", "s3:GetObject", f"{WORK}/batches/{BATCH}/jobs/{JOB}/out/0f-00000.png.out"),
        ("collect", "s3:GetObject", f"{WORK}/batches/{BATCH}/slices/0f-00000.png"),
        ("collect", "s3:PutObject", f"{WORK}/batches/{BATCH}/parts/0001/2.jsonl"),
        ("collect", "s3:PutObject", f"{PREDICTIONS}/predictions/a/b c.png.json"),
        ("collect", "s3:PutObject", f"{PREDICTIONS}/predictions/a/b c.png.map.png"),
        ("collect", "s3:DeleteObject", f"{PREDICTIONS}/predictions/a/b c.png.map.png"),
        ("collect", "s3:DeleteObject", f"{PREDICTIONS}/rejected/a/b c.png.json"),
        ("collect", "s3:PutObject", f"{PREDICTIONS}/reports/{BATCH}/{JOB}/contact-sheet.png"),
        ("collect", "s3:ListBucket", PREDICTIONS),
        ("retrain", "s3:GetObject", f"{WORK}/dataset/index/0f.jsonl"),
        ("retrain", "s3:PutObject", f"{WORK}/training/{TRAINING}/train.manifest"),
        ("retrain", "s3:PutObject", f"{WORK}/training/{TRAINING}/validation.manifest"),
        ("retrain", "s3:PutObject", f"{WORK}/training/{TRAINING}/held_out.jsonl"),
        ("retrain", "s3:PutObject", f"{WORK}/training/{TRAINING}/job.json"),
        ("retrain", "s3:GetObject", f"{WORK}/training/{TRAINING}/job.json"),
        ("retrain", "s3:AbortMultipartUpload", f"{WORK}/training/{TRAINING}/train.manifest"),
        ("retrain", "s3:ListBucket", WORK),
        ("retrain", "s3:PutObject", f"{PREDICTIONS}/models/{TRAINING}/audit.json"),
        ("retrain", "s3:PutObject", f"{PREDICTIONS}/models/{TRAINING}/audit.html"),
        ("retrain", "s3:PutObject", f"{PREDICTIONS}/models/{TRAINING}/left_out.jsonl"),
        ("retrain", "s3:PutObject", f"{WORK}/training/last_refusal.json"),
        ("retrain", "s3:GetObject", f"{WORK}/dataset/halves/00000001.jsonl"),
        ("retrain", "s3:PutObject", f"{WORK}/dataset/halves/00000002.jsonl"),
        ("retrain", "sagemaker:CreateTrainingJob", f"{SAGEMAKER}:training-job/{TRAINING.lower()}"),
        ("promote", "s3:GetObject", f"{WORK}/training/{TRAINING}/output/output.tar.gz"),
        ("promote", "s3:ListBucket", WORK),
        ("promote", "s3:PutObject", f"{WORK}/training/{TRAINING}/model.json"),
        ("promote", "s3:PutObject", f"{PREDICTIONS}/models/{TRAINING}/accuracy.png"),
        ("promote", "sagemaker:CreateModel", f"{SAGEMAKER}:model/{TRAINING.lower()}"),
        ("promote", "ssm:PutParameter", LIVE_MODEL),
        ("intake", "s3:PutObject", f"{PREDICTIONS}/rejected-labelled/covid/p/a.png.json"),
        ("intake", "s3:DeleteObject", f"{PREDICTIONS}/rejected-labelled/covid/p/a.png.json"),
        ("sweep", "s3:ListBucketVersions", UPLOADS),
        ("promote", "s3:GetObject", f"{WORK}/training/{TRAINING}/held_out.jsonl"),
        ("promote", "s3:PutObject", f"{WORK}/training/last_decision.json"),
        ("promote", "s3:PutObject", f"{WORK}/evaluations/{TRAINING}/{EVALUATION}/manifest.json"),
        ("promote", "s3:GetObject", f"{WORK}/evaluations/{TRAINING}/{EVALUATION}/out/a.png.out"),
        ("promote", "s3:GetObject", f"{PREDICTIONS}/models/{TRAINING}/decision.json"),
        ("promote", "s3:ListBucket", PREDICTIONS),
        ("promote", "sagemaker:CreateTransformJob", f"{SAGEMAKER}:transform-job/{EVALUATION}"),
        ("promote", "sns:Publish", NOTICES),
        ("sweep", "sns:Publish", NOTICES),
        ("sweep", "sagemaker:StopTransformJob", f"{SAGEMAKER}:transform-job/{EVALUATION}"),
        ("sagemaker", "s3:GetObject", f"{WORK}/evaluations/{TRAINING}/{EVALUATION}/manifest.json"),
        ("sagemaker", "s3:PutObject", f"{WORK}/evaluations/{TRAINING}/{EVALUATION}/out/a.png.out"),
        ("sweep", "s3:ListBucket", PREDICTIONS),
        ("sweep", "s3:GetObject", f"{PREDICTIONS}/rejected-labelled/covid/p/a.png.json"),
        ("sweep", "s3:DeleteObject", f"{PREDICTIONS}/rejected-labelled/covid/p/a.png.json"),
        ("sweep", "s3:PutObject", f"{WORK}/sweep/uploads.json"),
        ("sweep", "s3:GetObject", f"{WORK}/dataset/index/0f.jsonl"),
        ("sweep", "s3:GetObject", f"{PREDICTIONS}/models/{TRAINING}/decision.json"),
        ("sweep", "sagemaker:StopTransformJob", f"{SAGEMAKER}:transform-job/{JOB.lower()}"),
        ("sagemaker", "s3:GetObject", f"{WORK}/batches/{BATCH}/jobs/{JOB}/manifest.json"),
        ("sagemaker", "s3:GetObject", f"{WORK}/batches/{BATCH}/slices/0f-00000.png"),
        ("sagemaker", "s3:GetObject", f"{WORK}/dataset/slices/0f-00000.png"),
        ("sagemaker", "s3:GetObject", f"{WORK}/training/{TRAINING}/train.manifest"),
        ("sagemaker", "s3:GetObject", f"{WORK}/training/{TRAINING}/output/model.tar.gz"),
        ("sagemaker", "s3:PutObject", f"{WORK}/batches/{BATCH}/jobs/{JOB}/out/0f-00000.png.out"),
        ("sagemaker", "s3:PutObject", f"{WORK}/training/{TRAINING}/output/model.tar.gz"),
        ("sagemaker", "s3:PutObject", f"{WORK}/training/{TRAINING}/checkpoints/e.params"),
        (
            "sagemaker",
            "ecr:BatchGetImage",
            "arn:aws:ecr:us-east-1:811284229777:repository/image-classification",
        ),
    ],
)
def test_is_allowed(roles: dict[str, Role], who: str, action: str, resource: str) -> None:
    assert roles[who].allows(action, resource)


@pytest.mark.parametrize(
    ("who", "action", "resource"),
    [
        # Nobody changes or removes what people uploaded.
        *[(step, "s3:PutObject", f"{UPLOADS}/incoming/a.png") for step in STEPS],
        *[(step, "s3:DeleteObject", f"{UPLOADS}/incoming/a.png") for step in STEPS],
        # Only intake, which decodes them, looks at uploads.
        *[
            (step, "s3:GetObject", f"{UPLOADS}/incoming/a.png")
            for step in ("dispatch", "collect", "retrain", "promote", "sweep", "sagemaker")
        ],
        # Intake decodes hostile files: it reaches neither models nor jobs nor the live model.
        ("intake", "s3:PutObject", f"{PREDICTIONS}/predictions/a.png.json"),
        ("intake", "s3:PutObject", f"{WORK}/training/{TRAINING}/output/model.tar.gz"),
        ("intake", "s3:PutObject", f"{WORK}/batches/{BATCH}/jobs/{JOB}/manifest.json"),
        ("intake", "s3:GetObject", f"{WORK}/dataset/slices/0f-00000.png"),
        ("intake", "ssm:PutParameter", LIVE_MODEL),
        # Jobs write where their results go and nowhere else.
        ("sagemaker", "s3:PutObject", f"{WORK}/batches/{BATCH}/slices/0f-00000.png"),
        ("sagemaker", "s3:PutObject", f"{WORK}/training/{TRAINING}/job.json"),
        ("sagemaker", "s3:PutObject", f"{PREDICTIONS}/predictions/a.png.json"),
        ("sagemaker", "s3:DeleteObject", f"{WORK}/dataset/slices/0f-00000.png"),
        ("sagemaker", "ecr:BatchGetImage", f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/x"),
        # Other stacks' jobs, parameters and functions are theirs.
        ("dispatch", "sagemaker:CreateTransformJob", f"{SAGEMAKER}:transform-job/other-1"),
        ("sweep", "sagemaker:StopTransformJob", f"{SAGEMAKER}:transform-job/other-1"),
        ("promote", "sagemaker:CreateModel", f"{SAGEMAKER}:model/other-train-1"),
        ("promote", "sagemaker:CreateTransformJob", f"{SAGEMAKER}:transform-job/{JOB.lower()}"),
        ("promote", "s3:PutObject", f"{WORK}/training/{TRAINING}/held_out.jsonl"),
        ("promote", "s3:PutObject", f"{WORK}/evaluations/{TRAINING}/{EVALUATION}/out/a.png.out"),
        ("sagemaker", "s3:PutObject", f"{WORK}/training/last_decision.json"),
        ("promote", "ssm:PutParameter", LIVE_MODEL.replace("/tomodrop/", "/other/")),
        ("scheduler", "lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:x"),
    ],
)
def test_is_denied(roles: dict[str, Role], who: str, action: str, resource: str) -> None:
    assert not roles[who].allows(action, resource, s3_prefix="", **OURS)


@pytest.mark.parametrize("step", ["retrain", "promote", "sweep"])
def test_one_role_is_passed_to_one_service(
    stack: Deployed, roles: dict[str, Role], step: str
) -> None:
    jobs_role = stack.environment()["SAGEMAKER_ROLE_ARN"]
    allows = roles[step].allows
    assert allows("iam:PassRole", jobs_role, iam_PassedToService="sagemaker.amazonaws.com")
    assert not allows("iam:PassRole", jobs_role, iam_PassedToService="lambda.amazonaws.com")
    assert not allows("iam:PassRole", f"{jobs_role}-other", **OURS)


def test_retraining_lists_labelled_uploads_and_no_others(roles: dict[str, Role]) -> None:
    assert roles["retrain"].allows("s3:ListBucket", UPLOADS, s3_prefix="labelled/")
    assert not roles["retrain"].allows("s3:ListBucket", UPLOADS, s3_prefix="incoming/")
    assert not roles["retrain"].allows("s3:ListBucket", UPLOADS, s3_prefix="")
    assert roles["retrain"].allows("s3:ListBucket", PREDICTIONS, s3_prefix="rejected-labelled/")
    assert not roles["retrain"].allows("s3:ListBucket", PREDICTIONS, s3_prefix="predictions/")


def test_listing_is_held_to_a_folder_where_nothing_absent_is_looked_for(
    roles: dict[str, Role],
) -> None:
    allows = roles["retrain"].allows
    assert allows("s3:ListBucket", UPLOADS, s3_prefix="labelled/")
    assert not allows("s3:ListBucket", UPLOADS, s3_prefix="incoming/")
    assert not allows("s3:ListBucket", UPLOADS, s3_prefix="")


def test_the_schedules_call_their_functions_only(roles: dict[str, Role]) -> None:
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:tomodrop"
    called = {
        step
        for step in STEPS
        if roles["scheduler"].allows("lambda:InvokeFunction", f"{function}-{step}")
    }
    assert called == {"dispatch", "retrain", "sweep"}


def test_an_image_of_ones_own_is_pulled_from_ones_own_registry() -> None:
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tomodrop:3"
    jobs = role(deploy(AlgorithmImage=image), "SageMakerRole")
    repository = "arn:aws:ecr:us-east-1:{}:repository/{}"
    assert jobs.allows("ecr:BatchGetImage", repository.format(ACCOUNT, "tomodrop"))
    assert not jobs.allows("ecr:BatchGetImage", repository.format("811284229777", "tomodrop"))


def statements(stack: Deployed) -> dict[str, dict[str, Any]]:
    return {
        f"{logical_id}.{statement['Sid']}": statement
        for logical_id, policy in stack.of_type("AWS::IAM::ManagedPolicy").items()
        for statement in policy["PolicyDocument"]["Statement"]
    }


def test_a_statement_names_its_resources_where_aws_lets_it(stack: Deployed) -> None:
    wide = {
        action
        for statement in statements(stack).values()
        if "*" in as_list(statement["Resource"])
        for action in as_list(statement["Action"])
    }
    assert wide == set(WITHOUT_RESOURCE)


def test_objects_are_granted_by_folder_and_never_by_the_bucket(stack: Deployed) -> None:
    whole = [
        (name, resource)
        for name, statement in statements(stack).items()
        for resource in as_list(statement["Resource"])
        if resource in {f"{bucket}/*" for bucket in (UPLOADS, WORK, PREDICTIONS)}
    ]
    assert whole == []


def test_no_statement_has_a_wild_action(stack: Deployed) -> None:
    actions = {
        action
        for statement in statements(stack).values()
        for action in as_list(statement["Action"])
    }
    assert not [action for action in actions if "*" in action]


def test_a_comment_before_each_statement_gives_its_reason() -> None:
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    silent = [
        line.strip()
        for before, line in pairwise(lines)
        if line.lstrip().startswith("- Sid:") and not before.lstrip().startswith("# ")
    ]
    assert silent == []


@pytest.mark.parametrize("logical_id", ["SageMakerRole", "SchedulerRole"])
def test_a_service_takes_its_role_for_this_account_only(stack: Deployed, logical_id: str) -> None:
    [statement] = stack.properties(logical_id)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
