"""Starts the small stack on a state folder and writes; prints each change once acknowledged."""

import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from local.cloud import Cloud

TEMPLATE = Path(__file__).parents[1] / "data" / "template.yaml"


def say(**acknowledged: Any) -> None:
    print(json.dumps(acknowledged), flush=True)


def write(cloud: Cloud, number: int) -> None:
    s3, bucket = cloud.client("s3"), cloud.outputs["Uploads"]
    key = f"incoming/ü {number % 7}.png"
    body = hashlib.sha256(str(number).encode()).digest() * (1 + number % 5000)
    put = s3.put_object(
        Bucket=bucket, Key=key, Body=body, ContentType="image/png", Metadata={"number": str(number)}
    )
    say(
        kind="put",
        key=key,
        version=put["VersionId"],
        etag=put["ETag"],
        sha256=hashlib.sha256(body).hexdigest(),
        number=str(number),
    )
    cloud.client("dynamodb").put_item(
        TableName=cloud.outputs["Table"],
        Item={"id": {"S": "one"}, "part": {"N": str(number)}, "state": {"S": "OPEN"}},
    )
    say(kind="item", part=str(number))
    cloud.client("ssm").put_parameter(
        Name=cloud.outputs["Setting"], Value=f"model-{number}", Overwrite=True
    )
    say(kind="parameter", value=f"model-{number}")
    if number % 5 == 4:
        gone = s3.delete_object(Bucket=bucket, Key=key)
        say(kind="marker", key=key, version=gone["VersionId"])
        delete_a_message(cloud)


def delete_a_message(cloud: Cloud) -> None:
    queue = cloud.outputs["InboxUrl"]
    [message] = cloud.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    cloud.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    say(kind="message deleted", body=message["Body"])


if __name__ == "__main__":
    with Cloud(template=TEMPLATE, parameters={}, state_dir=Path(sys.argv[1])) as running:
        say(kind="started")
        for turn in itertools.count():
            write(running, turn)
