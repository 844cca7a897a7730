"""Send the uploads whose intake failed for good round again, in a running stack.

It is the call that operators make on AWS (`aws sqs start-message-move-task`), to this machine's
endpoint.
"""

import json
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from local.invoke import InvokeError, connection_of, environment_of


def redrive(state: Path) -> int:
    """Empty the dead-letter queue of intake into its queue; returns how many messages moved.

    Raises
    ------
    InvokeError
        No stack runs on `state`.
    """
    environment = environment_of(state, "IntakeFunction")
    sqs: Any = boto3.client("sqs", **connection_of(environment))
    try:
        attributes = sqs.get_queue_attributes(
            QueueUrl=environment["INTAKE_QUEUE_URL"], AttributeNames=["RedrivePolicy"]
        )["Attributes"]
        source = json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"]
        sqs.start_message_move_task(SourceArn=source)
        [task] = sqs.list_message_move_tasks(SourceArn=source)["Results"]
    except BotoCoreError as error:
        raise InvokeError(
            f"No stack answers for {state}. Start it: tomodrop run --state {state} …"
        ) from error
    return int(task["ApproximateNumberOfMessagesMoved"])
