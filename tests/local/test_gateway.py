"""What the gateway adds to moto: atomic writes, no lost messages, downloads from the file."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import moto
import pytest
from botocore.exceptions import ClientError

from local import moto_seams
from local.errors import LocalCloudError
from local.queue_model import RecordedQueue
from local.s3_events import Sequencer
from local.state import StateStore

CALLERS = 12


def outcomes(call: Callable[[int], Any]) -> list[str]:
    """Call from many threads at once; "done" or the error's code of each."""
    together = threading.Barrier(CALLERS)

    def one(number: int) -> str:
        together.wait()
        try:
            call(number)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "done"

    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(one, range(CALLERS)))


class TestAtomicWrites:
    def test_one_of_many_creates_an_object(self, small: Any) -> None:
        s3, bucket = small.client("s3"), small.outputs["Results"]

        def create(number: int) -> None:
            s3.put_object(Bucket=bucket, Key="once", Body=str(number).encode(), IfNoneMatch="*")

        said = outcomes(create)
        assert said.count("done") == 1
        assert set(said) == {"done", "PreconditionFailed"}

    def test_one_of_many_takes_an_item(self, small: Any) -> None:
        table, key = small.outputs["Table"], {"id": {"S": "batch"}, "part": {"N": "0"}}
        dynamodb = small.client("dynamodb")

        def take(number: int) -> None:
            dynamodb.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET taken_by = :me",
                ConditionExpression="attribute_not_exists(taken_by)",
                ExpressionAttributeValues={":me": {"N": str(number)}},
            )

        said = outcomes(take)
        assert said.count("done") == 1
        assert set(said) == {"done", "ConditionalCheckFailedException"}

    def test_writes_that_could_not_be_kept_are_refused(self, small: Any) -> None:
        statement = f"INSERT INTO \"{small.outputs['Table']}\" VALUE {{'id': 'x', 'part': 1}}"
        with pytest.raises(ClientError, match="not available on one machine"):
            small.client("dynamodb").execute_statement(Statement=statement)


class TestQueueTraffic:
    def test_nothing_is_lost_between_sending_and_deleting(self, small: Any) -> None:
        sqs, url, each = small.client("sqs"), small.outputs["InboxUrl"], 6
        small.letters("InboxUrl")

        def traffic(number: int) -> list[str]:
            seen = []
            for turn in range(each):
                sqs.send_message(QueueUrl=url, MessageBody=f"{number}-{turn}")
                for message in sqs.receive_message(QueueUrl=url).get("Messages", []):
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    seen.append(message["Body"])
            return seen

        with ThreadPoolExecutor(CALLERS) as callers:
            seen = [body for bodies in callers.map(traffic, range(CALLERS)) for body in bodies]
        seen += [letter["Body"] for letter in small.letters("InboxUrl")]
        assert sorted(seen) == sorted(f"{n}-{turn}" for n in range(CALLERS) for turn in range(each))

    def test_a_long_poll_ends_when_a_message_comes(self, small: Any) -> None:
        sqs, url = small.client("sqs"), small.outputs["InboxUrl"]
        small.letters("InboxUrl")
        with ThreadPoolExecutor(1) as caller:
            started = time.monotonic()
            answer = caller.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
            time.sleep(0.3)
            sqs.send_message(QueueUrl=url, MessageBody="here")
            [message] = answer.result()["Messages"]
        assert message["Body"] == "here"
        assert time.monotonic() - started < 10
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def test_messages_are_counted_where_they_are(self, small: Any) -> None:
        sqs, url = small.client("sqs"), small.outputs["InboxUrl"]
        small.letters("InboxUrl")
        for _ in range(3):
            sqs.send_message(QueueUrl=url, MessageBody="waiting")
        sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=60)
        [received] = sqs.receive_message(QueueUrl=url, VisibilityTimeout=60)["Messages"]

        def counts() -> tuple[int, ...]:
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            names = ("", "NotVisible", "Delayed")
            return tuple(int(found[f"ApproximateNumberOfMessages{name}"]) for name in names)

        assert counts() == (2, 1, 1)
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=received["ReceiptHandle"], VisibilityTimeout=0
        )
        assert counts() == (3, 0, 1)
        sqs.purge_queue(QueueUrl=url)
        assert counts() == (0, 0, 0)

    def test_asking_for_a_queue_that_exists_forgets_no_message(self, small: Any) -> None:
        sqs, url = small.client("sqs"), small.outputs["InboxUrl"]
        sent = sqs.send_message(QueueUrl=url, MessageBody="kept")["MessageId"]
        sqs.create_queue(QueueName=url.rpartition("/")[2])
        store = RecordedQueue.journal
        assert isinstance(store, StateStore)
        assert sent in {message.id for message in store.messages()}
        small.letters("InboxUrl")
        assert sent not in {message.id for message in store.messages()}

    def test_deleting_twice_is_no_error(self, small: Any) -> None:
        sqs, url = small.client("sqs"), small.outputs["InboxUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="once")
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        for _ in range(2):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        assert small.letters("InboxUrl") == []


class TestLargeObjects:
    SIZE = 3 * 1024 * 1024 + 7

    @pytest.fixture
    def large(self, small: Any) -> tuple[Any, dict[str, str], bytes]:
        body = os.urandom(self.SIZE)
        address = {"Bucket": small.outputs["Uploads"], "Key": "model ü+.tar.gz"}
        small.client("s3").put_object(**address, Body=body, ContentType="application/gzip")
        return small.client("s3"), address, body

    def test_all_of_it_is_sent(self, large: tuple[Any, dict[str, str], bytes]) -> None:
        s3, address, body = large
        got = s3.get_object(**address)
        assert got["Body"].read() == body
        assert got["ContentType"] == "application/gzip"
        assert got["ContentLength"] == len(body)

    @pytest.mark.parametrize(
        ("asked", "sent"),
        [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=1000000-2000000", slice(1_000_000, 2_000_001)),
            ("bytes=3145728-", slice(3_145_728, None)),
            ("bytes=-7", slice(-7, None)),
            ("bytes=3145728-99999999", slice(3_145_728, None)),
        ],
    )
    def test_a_range_of_it_is_sent(
        self, large: tuple[Any, dict[str, str], bytes], asked: str, sent: slice
    ) -> None:
        s3, address, body = large
        got = s3.get_object(**address, Range=asked)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["Body"].read() == body[sent]

    def test_an_older_version_is_sent_by_its_id(
        self, large: tuple[Any, dict[str, str], bytes]
    ) -> None:
        s3, address, body = large
        version = s3.head_object(**address)["VersionId"]
        s3.put_object(**address, Body=b"newer")
        assert s3.get_object(**address, VersionId=version)["Body"].read() == body
        assert s3.get_object(**address)["Body"].read() == b"newer"

    @pytest.mark.parametrize(
        ("wish", "code"),
        [
            ({"IfMatch": '"another"'}, "PreconditionFailed"),
            ({"Range": "bytes=99999999-"}, "InvalidRange"),
            ({"VersionId": "00000000-0000-0000-0000-000000000000"}, "NoSuchVersion"),
        ],
    )
    def test_refusals_are_s3s(
        self, large: tuple[Any, dict[str, str], bytes], wish: dict[str, str], code: str
    ) -> None:
        s3, address, _ = large
        with pytest.raises(ClientError) as refused:
            s3.get_object(**address, **wish)
        assert refused.value.response["Error"]["Code"] == code

    def test_a_deleted_object_is_gone(self, large: tuple[Any, dict[str, str], bytes]) -> None:
        s3, address, _ = large
        s3.delete_object(**address)
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(**address)


def test_another_version_of_moto_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moto, "__version__", "5.3.0")
    with pytest.raises(LocalCloudError, match=r"5\.3\.0 is installed"):
        moto_seams.install(Sequencer())
