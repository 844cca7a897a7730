"""What the clients make of answers: times, read quickly where they have S3's form."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from tomodrop.clients import App, read_time

AT = datetime(2026, 11, 24, 15, 39, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-24T15:39:00.000Z",
        "2026-11-24T15:39:00Z",
        "2026-11-24T16:39:00+01:00",
        "Tue, 24 Nov 2026 15:39:00 GMT",
        1795534740,
        1795534740.0,
    ],
)
def test_a_time_is_read_in_whatever_form_it_comes(value: Any) -> None:
    assert read_time(value) == AT == parse_timestamp(value)
    assert read_time(value).tzinfo is not None


@pytest.mark.parametrize("value", ["", "Z", "yesterday", "2026-13-24T15:39:00Z", None])
def test_what_is_no_time_is_refused(value: str | None) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        read_time(value)


def test_the_clients_read_times_like_that(stack: App) -> None:
    bucket = stack.settings.work_bucket
    stack.s3.put_object(Bucket=bucket, Key="a", Body=b"")
    [item] = stack.s3.list_objects_v2(Bucket=bucket)["Contents"]
    # dateutil's zone would be another.
    assert item["LastModified"].tzinfo is UTC
