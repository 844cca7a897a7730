"""The bucket settings that moto's CloudFormation leaves out: CloudFormation's words → S3's."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.errors import TemplateError
from local.stack import ClientFactory, Resource


def put_bucket_policy(client: ClientFactory, resource: Resource) -> None:
    """Apply a bucket policy, without the statements that have a condition.

    moto evaluates no conditions: "deny unless TLS" would deny everything. The endpoint is plain
    HTTP on the loopback device anyway.
    """
    policy = resource.properties["PolicyDocument"]
    statements = [entry for entry in policy["Statement"] if "Condition" not in entry]
    if statements:
        client("s3").put_bucket_policy(
            Bucket=resource.properties["Bucket"],
            Policy=json.dumps({**policy, "Statement": statements}),
        )


def _put_versioning(client: ClientFactory, resource: Resource) -> None:
    client("s3").put_bucket_versioning(
        Bucket=resource.physical_id,
        VersioningConfiguration=resource.properties["VersioningConfiguration"],
    )


def _put_public_access_block(client: ClientFactory, resource: Resource) -> None:
    client("s3").put_public_access_block(
        Bucket=resource.physical_id,
        PublicAccessBlockConfiguration=resource.properties["PublicAccessBlockConfiguration"],
    )


def _put_ownership(client: ClientFactory, resource: Resource) -> None:
    client("s3").put_bucket_ownership_controls(
        Bucket=resource.physical_id, OwnershipControls=resource.properties["OwnershipControls"]
    )


def _put_lifecycle(client: ClientFactory, resource: Resource) -> None:
    rules = [
        lifecycle_rule(rule) for rule in resource.properties["LifecycleConfiguration"]["Rules"]
    ]
    client("s3").put_bucket_lifecycle_configuration(
        Bucket=resource.physical_id, LifecycleConfiguration={"Rules": rules}
    )


def _put_notifications(client: ClientFactory, resource: Resource) -> None:
    wanted = resource.properties["NotificationConfiguration"]
    client("s3").put_bucket_notification_configuration(
        Bucket=resource.physical_id,
        NotificationConfiguration=notification_configuration(resource.logical_id, wanted),
    )


BUCKET_SUPPLEMENTS: Mapping[str, Callable[[ClientFactory, Resource], None]] = {
    "VersioningConfiguration": _put_versioning,
    "PublicAccessBlockConfiguration": _put_public_access_block,
    "OwnershipControls": _put_ownership,
    "LifecycleConfiguration": _put_lifecycle,
    "NotificationConfiguration": _put_notifications,
}


def lifecycle_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A lifecycle rule as S3's API words it. Nothing here expires: S3 would, within a day."""
    renamed = dict(rule)
    result: dict[str, Any] = {
        "ID": renamed.pop("Id", "rule"),
        "Status": renamed.pop("Status"),
        "Filter": {"Prefix": renamed.pop("Prefix", "")},
    }
    expiration = {}
    if "ExpirationInDays" in renamed:
        expiration["Days"] = renamed.pop("ExpirationInDays")
    if "ExpiredObjectDeleteMarker" in renamed:
        expiration["ExpiredObjectDeleteMarker"] = renamed.pop("ExpiredObjectDeleteMarker")
    if expiration:
        result["Expiration"] = expiration
    return result | renamed


def notification_configuration(logical_id: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Notifications as S3's API words them.

    Raises TemplateError for any target but a queue, and for events other than ObjectCreated: moto
    sends those incompletely.
    """
    other = sorted(set(wanted) - {"QueueConfigurations"})
    if other:
        raise TemplateError(f"{logical_id}: S3 notifies queues only on one machine, not {other}.")
    queues = []
    for number, entry in enumerate(wanted["QueueConfigurations"]):
        if not entry["Event"].startswith("s3:ObjectCreated:"):
            raise TemplateError(f"{logical_id}: S3 sends no {entry['Event']} on one machine.")
        rules = entry.get("Filter", {}).get("S3Key", {}).get("Rules", [])
        queues.append(
            {
                "Id": f"{logical_id}-{number}",
                "QueueArn": entry["Queue"],
                "Events": [entry["Event"]],
                "Filter": {"Key": {"FilterRules": rules}},
            }
        )
    return {"QueueConfigurations": queues}
