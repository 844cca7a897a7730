"""Messages, events and invocations reach functions as on AWS: real processes, HTTP only."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Eventually = Callable[[Callable[[], Any]], Any]
MISSING_FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:nobody"


def event_named(name: str, **detail: Any) -> dict[str, Any]:
    """A job's state change, as SageMaker sends it."""
    return {
        "version": "0",
        "id": name,
        "detail-type": "SageMaker Transform Job State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2026-11-24T16:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"Name": name, "Status": "Completed", **detail},
    }


class TestQueues:
    def test_a_message_arrives_in_lambdas_shape(self, small: Any, eventually: Eventually) -> None:
        attribute = {"colour": {"DataType": "String", "StringValue": "blau"}}
        sent = small.send({"do": "nothing", "name": "größe 1+1"}, MessageAttributes=attribute)
        [record] = eventually(lambda: small.receptions(sent))
        assert json.loads(record["body"]) == {"do": "nothing", "name": "größe 1+1"}
        assert record["eventSource"] == "aws:sqs"
        assert record["awsRegion"] == "us-east-1"
        assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-1:123456789012:")
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert int(record["attributes"]["SentTimestamp"]) > 0
        assert record["messageAttributes"]["colour"]["stringValue"] == "blau"
        assert record["receiptHandle"]
        assert len(record["md5OfBody"]) == 32

    def test_a_batch_is_at_most_as_large_as_the_mapping_says(
        self, small: Any, eventually: Eventually
    ) -> None:
        entries = [
            {"Id": str(number), "MessageBody": json.dumps({"do": "nothing", "batch": number})}
            for number in range(10)
        ]
        small.client("sqs").send_message_batch(QueueUrl=small.outputs["WorkUrl"], Entries=entries)

        def sizes() -> list[int]:
            batches = [
                [json.loads(record["body"]).get("batch") for record in batch["records"]]
                for batch in small.traces("batches")
            ]
            seen = [number for batch in batches for number in batch if number is not None]
            return [len(batch) for batch in batches] if len(seen) == 10 else []

        assert max(eventually(sizes)) == 5

    def test_only_the_failed_message_of_a_batch_comes_again(
        self, small: Any, eventually: Eventually
    ) -> None:
        fails = small.send({"do": "fail", "times": 1})
        works = small.send({"do": "nothing"})
        eventually(lambda: len(small.receptions(fails)) == 2)
        assert len(small.receptions(works)) == 1
        counts = [
            record["attributes"]["ApproximateReceiveCount"] for record in small.receptions(fails)
        ]
        assert counts == ["1", "2"]
        eventually(lambda: small.cloud.activity().queue_in_flight == 0)

    def test_a_message_that_always_fails_goes_to_the_dead_letter_queue(
        self, small: Any, eventually: Eventually
    ) -> None:
        sent = small.send({"do": "fail"})
        eventually(lambda: small.cloud.activity().dead_letters)
        [letter] = small.letters("WorkDeadUrl")
        assert letter["MessageId"] == sent
        assert len(small.receptions(sent)) == 2  # maxReceiveCount

    @pytest.mark.parametrize("wish", [{"do": "raise", "text": "no"}, {"do": "crash"}])
    def test_a_handler_that_fails_loses_no_message(
        self, small: Any, eventually: Eventually, wish: dict[str, str]
    ) -> None:
        sent = small.send(wish)
        letters = eventually(lambda: small.letters("WorkDeadUrl"))
        assert [letter["MessageId"] for letter in letters] == [sent]
        after = small.send({"do": "nothing"})
        eventually(lambda: small.receptions(after))


class TestUploads:
    def test_keys_of_any_kind_are_announced(self, small: Any, eventually: Eventually) -> None:
        s3, bucket = small.client("s3"), small.outputs["Uploads"]
        keys = ["incoming/a b+c.png", "incoming/肺/スライス 1.png", "incoming/100%/ü&=?.png"]
        versions = {
            key: s3.put_object(Bucket=bucket, Key=key, Body=b"image")["VersionId"] for key in keys
        }
        s3.put_object(Bucket=bucket, Key="elsewhere/x.png", Body=b"not announced")
        records = self.gathered(small, eventually, 3)
        told = {record["s3"]["object"]["key"]: record for record in records}
        assert set(told) == {
            "incoming/a+b%2Bc.png",
            "incoming/%E8%82%BA/%E3%82%B9%E3%83%A9%E3%82%A4%E3%82%B9+1.png",
            "incoming/100%25/%C3%BC%26%3D%3F.png",
        }
        record = told["incoming/a+b%2Bc.png"]
        stored = record["s3"]["object"]
        assert record["eventName"] == "ObjectCreated:Put"
        assert record["eventVersion"].startswith("2.")
        assert record["s3"]["bucket"]["name"] == bucket
        assert stored["versionId"] == versions["incoming/a b+c.png"]
        assert stored["size"] == 5
        assert stored["eTag"] == "78805a221a988e79ef3f42d7c5bfd418"

    def test_a_multipart_upload_is_announced_once(self, small: Any, eventually: Eventually) -> None:
        s3, bucket, key = small.client("s3"), small.outputs["Uploads"], "incoming/large.bin"
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        address = {"Bucket": bucket, "Key": key, "UploadId": upload}
        parts = [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(**address, PartNumber=number, Body=body)["ETag"],
            }
            for number, body in enumerate([b"x" * 5 * 1024 * 1024, b"end"], start=1)
        ]
        s3.complete_multipart_upload(**address, MultipartUpload={"Parts": parts})
        [record] = eventually(lambda: self.announced(small))
        assert record["eventName"] == "ObjectCreated:CompleteMultipartUpload"
        assert record["s3"]["object"]["eTag"].endswith("-2")
        assert s3.get_object(**{k: address[k] for k in ("Bucket", "Key")})["Body"].read()[-4:] == (
            b"xend"
        )
        assert self.announced(small) == []

    def test_sequencers_of_a_key_follow_its_versions(
        self, small: Any, eventually: Eventually
    ) -> None:
        s3, bucket, key = small.client("s3"), small.outputs["Uploads"], "incoming/again.png"
        versions = [
            s3.put_object(Bucket=bucket, Key=key, Body=bytes([n]))["VersionId"] for n in range(5)
        ]
        records = self.gathered(small, eventually, 5)
        by_sequencer = sorted(records, key=lambda record: record["s3"]["object"]["sequencer"])
        assert [record["s3"]["object"]["versionId"] for record in by_sequencer] == versions

    def gathered(self, small: Any, eventually: Eventually, count: int) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []

        def enough() -> bool:
            records.extend(self.announced(small))
            return len(records) >= count

        eventually(enough)
        return records

    @staticmethod
    def announced(small: Any) -> list[dict[str, Any]]:
        bodies = [json.loads(letter["Body"]) for letter in small.letters("InboxUrl")]
        return [record for body in bodies for record in body.get("Records", [])]


class TestRules:
    def test_an_event_reaches_the_function_of_the_rule_that_matches(self, small: Any) -> None:
        small.cloud.emit(event_named("small-1"))
        assert event_named("small-1") in small.traces("events")

    def test_an_event_that_no_rule_matches_reaches_nobody(self, small: Any) -> None:
        small.cloud.emit(event_named("other-1"))
        small.cloud.emit({**event_named("small-2"), "source": "aws.s3"})
        names = {trace["detail"]["Name"] for trace in small.traces("events") if "detail" in trace}
        assert not names & {"other-1", "small-2"}

    def test_a_rule_that_is_switched_off_is_silent(self, small: Any) -> None:
        [rule] = small.client("events").list_rules()["Rules"]
        small.client("events").disable_rule(Name=rule["Name"])
        try:
            small.cloud.emit(event_named("small-off"))
        finally:
            small.client("events").enable_rule(Name=rule["Name"])
        assert event_named("small-off") not in small.traces("events")

    def test_an_event_that_the_function_fails_on_is_tried_three_times_then_set_aside(
        self, small: Any
    ) -> None:
        failing = event_named("small-3", fail=True)
        small.cloud.emit(failing)
        assert small.traces("events").count(failing) == 3
        [letter] = small.letters("EventsDeadUrl")
        assert json.loads(letter["Body"]) == failing
        said = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
        assert said["ERROR_MESSAGE"] == "RuntimeError: told to fail"
        assert said["TARGET_ARN"].endswith(small.function("RuleFunction"))
        assert ":rule/" in said["RULE_ARN"]
        assert said["RETRY_ATTEMPTS"] == "2"

    def test_a_functions_own_dead_letter_queue_comes_first(
        self, small: Any, eventually: Eventually
    ) -> None:
        small.client("lambda").invoke(
            FunctionName=small.function("OwnQueueFunction"),
            InvocationType="Event",
            Payload=b'{"fail": true, "from": "a test"}',
        )
        [letter] = eventually(lambda: small.letters("EventsDeadUrl"))
        assert json.loads(letter["Body"]) == {"fail": True, "from": "a test"}
        assert set(letter["MessageAttributes"]) == {"RequestID", "ErrorCode", "ErrorMessage"}


class TestInvocations:
    def test_a_function_sees_the_environment_it_was_given_and_no_other(
        self, small: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_SECRET_OF_THE_PARENT", "visible")
        error, seen = small.invoke("EnvironmentFunction", {"a": [1, "ü"]})
        environment = seen["environment"]
        assert error is None
        assert "A_SECRET_OF_THE_PARENT" not in environment
        assert environment["BUCKET"] == "small-results-123456789012"
        assert environment["RATE"] == "0.00001"
        assert environment["SENTENCE"] == "rate=0.00001,size=5"
        assert environment["AWS_ENDPOINT_URL"] == small.cloud.endpoint_url
        assert environment["AWS_ENDPOINT_URL_SAGEMAKER"] == small.cloud.sagemaker_url
        assert environment["TZ"] == ":UTC"
        given = small.cloud.environment("EnvironmentFunction")
        own = {name: value for name, value in environment.items() if name in given}
        assert own == given
        assert set(environment) - set(given) <= {"LC_CTYPE", "_X_AMZN_TRACE_ID"}

    def test_a_function_gets_a_context_like_lambdas(self, small: Any) -> None:
        _, seen = small.invoke("EnvironmentFunction", {"a": [1, "ü"]})
        assert seen["event"] == {"a": [1, "ü"]}
        assert 0 < seen["remaining_ms"] <= 20_000
        assert seen["name"] == small.function("EnvironmentFunction")
        assert seen["arn"].endswith(f":function:{seen['name']}")
        assert seen["memory"] == "512"
        assert seen["log_group"] == f"/aws/lambda/{seen['name']}"
        assert seen["folder"].endswith("data/functions")

    def test_functions_have_credentials_of_their_own(self, small: Any) -> None:
        keys = {
            small.cloud.environment(logical_id)["AWS_ACCESS_KEY_ID"]
            for logical_id in ("EnvironmentFunction", "QueueFunction", "RuleFunction")
        }
        assert len(keys) == 3

    def test_a_worker_stays_warm_even_after_an_exception(self, small: Any) -> None:
        _, first = small.invoke("EnvironmentFunction", {})
        error, failure = small.invoke("OwnQueueFunction", {"fail": True})
        _, second = small.invoke("EnvironmentFunction", {})
        assert error == "Unhandled"
        assert failure["errorType"] == "RuntimeError"
        assert failure["errorMessage"] == "told to fail"
        assert "handlers.py" in failure["stackTrace"][-1]
        assert first["process"] == second["process"]

    def test_output_goes_to_the_functions_log(self, small: Any) -> None:
        small.invoke("EnvironmentFunction", {})
        log = (small.cloud.log_folder / "EnvironmentFunction.log").read_text()
        assert "a line for the log" in log
        assert "REPORT RequestId:" in log

    def test_a_module_that_cannot_be_imported_says_so(self, small: Any) -> None:
        error, failure = small.invoke("BrokenFunction", {})
        assert error == "Unhandled"
        assert failure["errorType"] == "Runtime.ImportModuleError"
        assert "a_module_that_is_not_there" in failure["errorMessage"]

    def test_a_handler_that_hangs_is_ended_at_its_time_limit(self, small: Any) -> None:
        error, failure = small.invoke("SlowFunction", {})
        assert error == "Unhandled"
        assert failure["errorType"] == "Sandbox.Timedout"
        assert failure["errorMessage"].endswith("Error: Task timed out after 2.00 seconds")
        log = (small.cloud.log_folder / "SlowFunction.log").read_text()
        assert "Task timed out after 2.00 seconds" in log

    def test_an_unknown_function_is_refused(self, small: Any) -> None:
        client = small.client("lambda")
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName=MISSING_FUNCTION)
