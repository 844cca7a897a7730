"""Dead letters go back: the same call as on AWS, and `tomodrop redrive`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cli import main
from local.cloud import Cloud
from local.invoke import write_environment

Eventually = Callable[[Callable[[], Any]], Any]
TEMPLATE = Path(__file__).parents[2] / "template.yaml"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redrive")


@pytest.fixture(scope="module")
def real(state: Path) -> Iterator[Cloud]:
    """The stack, whose queues nobody reads."""
    with Cloud(template=TEMPLATE, parameters={"RetrainState": "DISABLED"}, state_dir=state) as one:
        for poller in one._delivery._pollers:  # they would take the messages at once
            poller.stop()
        write_environment(state, one.functions, one.environment)
        yield one


def arn(cloud: Cloud, output: str) -> str:
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=cloud.outputs[output], AttributeNames=["QueueArn"]
    )
    return str(attributes["Attributes"]["QueueArn"])


def bodies(cloud: Cloud, output: str) -> list[str]:
    """The messages that can be received; they are deleted."""
    sqs, url = cloud.client("sqs"), cloud.outputs[output]
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found)


def set_aside(cloud: Cloud, *texts: str) -> None:
    for text in texts:
        cloud.client("sqs").send_message(
            QueueUrl=cloud.outputs["IntakeDeadLetterQueueUrl"], MessageBody=text
        )


def test_dead_letters_go_back_to_the_queue_they_came_from(real: Cloud) -> None:
    sqs, source = real.client("sqs"), arn(real, "IntakeDeadLetterQueueUrl")
    set_aside(real, "a", "b", "c")
    assert sqs.start_message_move_task(SourceArn=source)["TaskHandle"]
    [task] = sqs.list_message_move_tasks(SourceArn=source)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 3)
    assert bodies(real, "IntakeDeadLetterQueueUrl") == []
    assert bodies(real, "IntakeQueueUrl") == ["a", "b", "c"]


def test_a_letter_that_was_looked_at_goes_back_as_well(real: Cloud) -> None:
    sqs, url = real.client("sqs"), real.outputs["IntakeDeadLetterQueueUrl"]
    set_aside(real, "seen")
    [seen] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
    sqs.start_message_move_task(SourceArn=arn(real, "IntakeDeadLetterQueueUrl"))
    assert bodies(real, "IntakeQueueUrl") == ["seen"] == [seen["Body"]]
    assert bodies(real, "IntakeDeadLetterQueueUrl") == []


def test_a_letter_that_somebody_has_in_hand_stays(real: Cloud) -> None:
    sqs, url = real.client("sqs"), real.outputs["IntakeDeadLetterQueueUrl"]
    set_aside(real, "held")
    [held] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=60)["Messages"]
    sqs.start_message_move_task(SourceArn=arn(real, "IntakeDeadLetterQueueUrl"))
    assert bodies(real, "IntakeQueueUrl") == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"])


def test_letters_can_go_elsewhere(real: Cloud) -> None:
    set_aside(real, "elsewhere")
    source, destination = (
        arn(real, name) for name in ("IntakeDeadLetterQueueUrl", "EventDeadLetterQueueUrl")
    )
    sqs = real.client("sqs")
    sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
    [task] = sqs.list_message_move_tasks(SourceArn=source)["Results"]
    assert task["DestinationArn"] == destination
    assert bodies(real, "EventDeadLetterQueueUrl") == ["elsewhere"]


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ("EventDeadLetterQueueUrl", None, "UnsupportedOperation"),
        ("IntakeQueueUrl", None, "UnsupportedOperation"),
        ("nobody", None, "ResourceNotFoundException"),
        ("IntakeDeadLetterQueueUrl", "nobody", "ResourceNotFoundException"),
    ],
)
def test_what_aws_refuses_is_refused(
    real: Cloud, source: str, destination: str | None, code: str
) -> None:
    names = {"nobody": "arn:aws:sqs:us-east-1:123456789012:nobody"}
    place = {"DestinationArn": names[destination]} if destination else {}
    with pytest.raises(ClientError) as refused:
        real.client("sqs").start_message_move_task(
            SourceArn=names.get(source) or arn(real, source), **place
        )
    assert refused.value.response["Error"]["Code"].endswith(code)


def test_the_command_says_how_many_go_round_again(
    real: Cloud, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside(real, "x", "y")
    assert main(["redrive", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "2 messages of uploads go round again.\n"
    assert bodies(real, "IntakeQueueUrl") == ["x", "y"]


def test_a_folder_without_a_stack_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redrive", "--state", str(tmp_path)]) == 2
    assert "Start a stack first" in capsys.readouterr().err
