"""Starts the small stack on a state folder and prints what it holds, as JSON."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from local.cloud import Cloud

TEMPLATE = Path(__file__).parents[1] / "data" / "template.yaml"


def versions(cloud: Cloud) -> list[dict[str, Any]]:
    s3, bucket = cloud.client("s3"), cloud.outputs["Uploads"]
    listed = s3.list_object_versions(Bucket=bucket)
    found = []
    for version in listed.get("Versions", []):
        got = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        found.append(
            {
                "key": version["Key"],
                "version": version["VersionId"],
                "etag": got["ETag"],
                "latest": version["IsLatest"],
                "type": got["ContentType"],
                "number": got["Metadata"]["number"],
                "sha256": hashlib.sha256(got["Body"].read()).hexdigest(),
            }
        )
    return found


def messages(cloud: Cloud) -> list[str]:
    sqs, queue = cloud.client("sqs"), cloud.outputs["InboxUrl"]
    bodies = []
    while received := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=60
    ).get("Messages", []):
        bodies += [message["Body"] for message in received]
    return bodies


def show(cloud: Cloud) -> dict[str, Any]:
    s3, bucket = cloud.client("s3"), cloud.outputs["Uploads"]
    markers = s3.list_object_versions(Bucket=bucket).get("DeleteMarkers", [])
    items = cloud.client("dynamodb").scan(TableName=cloud.outputs["Table"])["Items"]
    setting = cloud.client("ssm").get_parameter(Name=cloud.outputs["Setting"])["Parameter"]
    return {
        "versions": versions(cloud),
        "markers": [marker["VersionId"] for marker in markers],
        "parts": [item["part"]["N"] for item in items],
        "parameter": setting["Value"],
        "messages": messages(cloud),
    }


if __name__ == "__main__":
    with Cloud(template=TEMPLATE, parameters={}, state_dir=Path(sys.argv[1])) as running:
        json.dump(show(running), sys.stdout)
