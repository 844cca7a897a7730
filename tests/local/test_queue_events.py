"""What Lambda reads from a batch's answer, and which messages pass a filter."""

from typing import Any

import pytest

from local.queue_events import failed_messages, is_wanted

IDS = ["one", "two", "three"]


@pytest.mark.parametrize(
    "answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"other": 1}]
)
def test_nothing_reported_is_success(answer: Any) -> None:
    assert failed_messages(answer, IDS) == set()


def test_reported_messages_have_failed() -> None:
    answer = {"batchItemFailures": [{"itemIdentifier": "two"}, {"itemIdentifier": "three"}]}
    assert failed_messages(answer, IDS) == {"two", "three"}


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"itemIdentifier": "nobody"}]},
        {"batchItemFailures": [{"itemIdentifier": "one"}, {"itemIdentifier": "nobody"}]},
        {"batchItemFailures": [{"id": "one"}]},
        {"batchItemFailures": ["one"]},
        {"batchItemFailures": "one"},
        "done",
        7,
    ],
)
def test_a_report_that_makes_no_sense_fails_the_whole_batch(answer: Any) -> None:
    assert failed_messages(answer, IDS) == set(IDS)


FILTERS = [{"Pattern": '{"body": {"Records": {"s3": {"object": {"key": [{"prefix": "a/"}]}}}}}'}]


@pytest.mark.parametrize(
    ("body", "filters", "wanted"),
    [
        ("anything", [], True),
        ('{"kind": "put"}', [{"Pattern": '{"body": {"kind": ["put"]}}'}], True),
        ('{"kind": "get"}', [{"Pattern": '{"body": {"kind": ["put"]}}'}], False),
        ("plain text", [{"Pattern": '{"body": {"kind": ["put"]}}'}], False),
        ("plain text", [{"Pattern": '{"body": ["plain text"]}'}], True),
        (
            '{"Event": "s3:TestEvent"}',
            [{"Pattern": '{"body": {"Records": [{"exists": true}]}}'}],
            False,
        ),
        ('{"Records": []}', [{"Pattern": '{"body": {"Records": [{"exists": true}]}}'}], True),
    ],
)
def test_filters_are_matched_against_the_body(
    body: str, filters: list[dict[str, str]], wanted: bool
) -> None:
    assert is_wanted({"Body": body, "Attributes": {}}, filters) is wanted
