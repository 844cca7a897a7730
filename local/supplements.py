"""What moto's CloudFormation leaves out, done through the services' own API.

Every property of every resource is accounted for: moto's CloudFormation takes it, we apply it here,
we read it elsewhere, or it is listed as having no effect on one machine. Anything else is an error,
so a template never looks deployed while part of it is missing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from local.bucket_supplements import BUCKET_SUPPLEMENTS, put_bucket_policy
from local.errors import TemplateError
from local.stack import ClientFactory, Resource, Stack

Apply = Callable[[ClientFactory, Resource], None]


@dataclass(frozen=True)
class Coverage:
    """How the properties of one resource type come into effect.

    `by_moto`: moto's CloudFormation takes them (None: takes the type as a whole).
    `apply`: property → what applies it. `whole`: applies a type that moto does not know.
    `elsewhere`: read by the module named. `no_effect`: property → why it does nothing here.
    """

    by_moto: frozenset[str] | None = frozenset()
    apply: Mapping[str, Apply] = field(default_factory=dict)
    whole: Apply | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    no_effect: Mapping[str, str] = field(default_factory=dict)

    def unknown(self, properties: Mapping[str, Any]) -> list[str]:
        """The properties that nothing accounts for."""
        if self.by_moto is None or self.whole is not None:
            return []
        known = {*self.by_moto, *self.apply, *self.elsewhere, *self.no_effect}
        return sorted(set(properties) - known)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _put_queue_policy(client: ClientFactory, resource: Resource) -> None:
    for url in resource.properties["Queues"]:
        client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": json.dumps(resource.properties["PolicyDocument"])}
        )


def _set_time_to_live(client: ClientFactory, resource: Resource) -> None:
    client("dynamodb").update_time_to_live(
        TableName=resource.physical_id,
        TimeToLiveSpecification=resource.properties["TimeToLiveSpecification"],
    )


def _set_recovery(client: ClientFactory, resource: Resource) -> None:
    client("dynamodb").update_continuous_backups(
        TableName=resource.physical_id,
        PointInTimeRecoverySpecification=resource.properties["PointInTimeRecoverySpecification"],
    )


def _set_log_retention(client: ClientFactory, resource: Resource) -> None:
    client("logs").put_retention_policy(
        logGroupName=resource.physical_id, retentionInDays=resource.properties["RetentionInDays"]
    )


def _create_schedule(client: ClientFactory, resource: Resource) -> None:
    client("scheduler").create_schedule(**resource.properties)


def _create_schedule_group(client: ClientFactory, resource: Resource) -> None:
    client("scheduler").create_schedule_group(**resource.properties)


def _put_alarm(client: ClientFactory, resource: Resource) -> None:
    client("cloudwatch").put_metric_alarm(
        **{"AlarmName": resource.logical_id, **resource.properties}
    )


def _put_topic_policy(client: ClientFactory, resource: Resource) -> None:
    for arn in resource.properties["Topics"]:
        client("sns").set_topic_attributes(
            TopicArn=arn,
            AttributeName="Policy",
            AttributeValue=json.dumps(resource.properties["PolicyDocument"]),
        )


def _subscribe(client: ClientFactory, resource: Resource) -> None:
    """Kept and shown; nothing is mailed from one machine."""
    client("sns").subscribe(**resource.properties)


def _put_invoke_config(client: ClientFactory, resource: Resource) -> None:
    settings = dict(resource.properties)
    settings.pop("Qualifier", None)  # only $LATEST runs here
    client("lambda").put_function_event_invoke_config(**settings)


COVERAGE: Mapping[str, Coverage] = {
    "AWS::CloudWatch::Alarm": Coverage(whole=_put_alarm),
    "AWS::CloudWatch::Dashboard": Coverage(by_moto=None),
    "AWS::DynamoDB::Table": Coverage(
        by_moto=_names(
            "AttributeDefinitions BillingMode DeletionProtectionEnabled GlobalSecondaryIndexes "
            "KeySchema LocalSecondaryIndexes ProvisionedThroughput SSESpecification TableName Tags"
        ),
        apply={
            "PointInTimeRecoverySpecification": _set_recovery,
            "TimeToLiveSpecification": _set_time_to_live,
        },
    ),
    "AWS::Events::Rule": Coverage(
        by_moto=_names("Description EventBusName EventPattern Name State Targets")
    ),
    "AWS::IAM::ManagedPolicy": Coverage(by_moto=None),  # kept; no request is refused by a policy
    "AWS::IAM::Policy": Coverage(by_moto=None),
    "AWS::IAM::Role": Coverage(by_moto=None),
    "AWS::Lambda::EventInvokeConfig": Coverage(whole=_put_invoke_config),
    "AWS::Lambda::EventSourceMapping": Coverage(
        by_moto=_names(
            "BatchSize Enabled EventSourceArn FilterCriteria FunctionName FunctionResponseTypes "
            "MaximumBatchingWindowInSeconds ScalingConfig Tags"
        )
    ),
    "AWS::Lambda::Function": Coverage(
        by_moto=_names(
            "Code Description Environment FunctionName Handler MemorySize "
            "ReservedConcurrentExecutions Role Runtime Timeout"
        ),
        elsewhere={"DeadLetterConfig": "local.functions"},
        no_effect={
            "Architectures": "workers run on this machine's processor",
            "EphemeralStorage": "workers share this machine's disk",
            "LoggingConfig": "logs are files in the state folder",
            "KmsKeyArn": "a worker's environment is this machine's memory",
            "Tags": "nothing here reads tags of functions",
            "TracingConfig": "there is no X-Ray on one machine",
            "VpcConfig": "workers are on this machine's network",
        },
    ),
    "AWS::Lambda::Permission": Coverage(by_moto=None),
    "AWS::Logs::LogGroup": Coverage(
        by_moto=_names("LogGroupName Tags"),
        apply={"RetentionInDays": _set_log_retention},
        no_effect={"KmsKeyId": "logs are files in the state folder"},
    ),
    "AWS::S3::Bucket": Coverage(
        by_moto=_names("BucketEncryption BucketName Tags"),
        apply=BUCKET_SUPPLEMENTS,
        no_effect={"LoggingConfiguration": "whoever is on this machine may ask"},
    ),
    "AWS::S3::BucketPolicy": Coverage(whole=put_bucket_policy),
    "AWS::SNS::Subscription": Coverage(whole=_subscribe),
    "AWS::SNS::Topic": Coverage(by_moto=None),
    "AWS::SNS::TopicPolicy": Coverage(whole=_put_topic_policy),
    "AWS::SQS::Queue": Coverage(
        by_moto=_names(
            "DelaySeconds KmsDataKeyReusePeriodSeconds KmsMasterKeyId MaximumMessageSize "
            "MessageRetentionPeriod QueueName ReceiveMessageWaitTimeSeconds RedrivePolicy "
            "SqsManagedSseEnabled Tags VisibilityTimeout"
        ),
        no_effect={"RedriveAllowPolicy": "there is one account and one stack"},
    ),
    "AWS::SQS::QueuePolicy": Coverage(whole=_put_queue_policy),
    "AWS::SSM::Parameter": Coverage(
        by_moto=_names("AllowedPattern DataType Description Name Tier Type Value")
    ),
    "AWS::Scheduler::Schedule": Coverage(whole=_create_schedule),
    "AWS::Scheduler::ScheduleGroup": Coverage(whole=_create_schedule_group),
}


def check_coverage(template: Mapping[str, Any]) -> None:
    """Raise TemplateError naming every resource, and every property, that would be missing here.

    `template` is plain CloudFormation, not yet resolved.
    """
    gaps = [
        gap
        for logical_id, resource in template["Resources"].items()
        for gap in _gaps(logical_id, resource["Type"], resource.get("Properties", {}))
    ]
    if gaps:
        raise TemplateError(
            "Parts of the template do not exist on one machine (local/supplements.py lists what "
            "does):\n  " + "\n  ".join(gaps)
        )


def _gaps(logical_id: str, kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    coverage = COVERAGE.get(kind)
    if coverage is None:
        yield f"{logical_id}: {kind}"
        return
    for name in coverage.unknown(properties):
        yield f"{logical_id}: property {name} of {kind}"


def known_to_moto(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template without the resources that moto's CloudFormation would leave out anyway."""
    resources = {
        logical_id: resource
        for logical_id, resource in template["Resources"].items()
        if COVERAGE[resource["Type"]].whole is None
    }
    return {**template, "Resources": resources}


def apply_supplements(client: ClientFactory, stack: Stack) -> None:
    """Apply what moto's CloudFormation left out.

    Raises TemplateError naming the resource whose settings the service refuses, or that moto did
    not create.
    """
    for resource in stack.resources:
        if COVERAGE[resource.type].whole is None and resource.physical_id is None:
            raise TemplateError(f"{resource.logical_id}: moto did not create {resource.type}.")
    for resource in sorted(stack.resources, key=_order):
        coverage = COVERAGE[resource.type]
        wanted = [coverage.whole] if coverage.whole else []
        wanted += [apply for name, apply in coverage.apply.items() if name in resource.properties]
        for apply in wanted:
            try:
                apply(client, resource)
            except (ClientError, ParamValidationError) as error:
                raise TemplateError(f"{resource.logical_id} ({resource.type}): {error}") from error


def _order(resource: Resource) -> int:
    """A schedule needs its group; policies and buckets do not mind (S3 checks no policy here)."""
    return 0 if resource.type == "AWS::Scheduler::ScheduleGroup" else 1
