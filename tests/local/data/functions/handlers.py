"""Handlers that do what their event says, and leave a trace of it in a bucket."""

import json
import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import boto3


def leave(kind: str, content: Any) -> None:
    """Put JSON under <kind>/<something unique> in the results bucket."""
    boto3.client("s3").put_object(
        Bucket=os.environ["BUCKET"],
        Key=f"{kind}/{time.time_ns()}-{uuid.uuid4().hex}.json",
        Body=json.dumps(content).encode(),
    )


def take_messages(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Each message says what is to become of it."""
    failed = []
    leave("batches", {"request": context.aws_request_id, "records": event["Records"]})
    for record in event["Records"]:
        wish = json.loads(record["body"])
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        if wish["do"] == "fail" and attempt <= wish.get("times", 99):
            failed.append({"itemIdentifier": record["messageId"]})
        elif wish["do"] == "raise":
            raise ValueError(wish["text"])
        elif wish["do"] == "hang":
            time.sleep(300)
        elif wish["do"] == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
    return {"batchItemFailures": failed}


def hang(_event: dict[str, Any], _context: Any) -> None:
    """Take longer than anyone waits."""
    time.sleep(300)


def take_event(event: dict[str, Any], context: Any) -> str:
    """Keep the event; fail if it says so."""
    leave("events", event)
    if event.get("detail", event).get("fail"):
        raise RuntimeError("told to fail")
    return f"taken by {context.invoked_function_arn}"


def take_turn(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Keep the schedule's event, and return it."""
    leave("turns", event)
    return event


def show_environment(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What a handler can see of its surroundings."""
    print("a line for the log")
    return {
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "process": os.getpid(),
        "event": event,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "log_group": context.log_group_name,
    }
