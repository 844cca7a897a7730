"""Objects of any size from pieces of text."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.functions.interference import before_call, refusing
from tomodrop import objects
from tomodrop.clients import App

KEY = "training/job/train.manifest"


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_pieces_become_one_object(stack: App, count: int) -> None:
    work = stack.settings.work_bucket
    pieces = [f"línea {number}\n" for number in range(count)]
    objects.write_stream(stack.s3, work, KEY, iter(pieces), "application/jsonl")
    assert objects.read(stack.s3, work, KEY).decode() == "".join(pieces)
    head = stack.s3.head_object(Bucket=work, Key=KEY)
    assert head["ContentType"] == "application/jsonl"


def test_a_large_one_goes_in_parts(stack: App) -> None:
    work = stack.settings.work_bucket
    piece = "x" * 9_999 + "\n"
    with before_call(10**6, lambda: None, stack.s3) as calls:
        objects.write_stream(stack.s3, work, KEY, (piece for _ in range(2_000)), "text/plain")
    assert calls.count("UploadPart") == 3
    assert calls[-1] == "CompleteMultipartUpload"
    assert objects.read(stack.s3, work, KEY) == piece.encode() * 2_000


def test_one_that_is_refused_half_way_leaves_nothing(stack: App) -> None:
    work = stack.settings.work_bucket
    piece = "x" * 9_999 + "\n"
    with (
        refusing(stack.s3, "UploadPart", "AccessDenied", status=403),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        objects.write_stream(stack.s3, work, KEY, (piece for _ in range(2_000)), "text/plain")
    assert objects.read_if_there(stack.s3, work, KEY) is None
    assert "Uploads" not in stack.s3.list_multipart_uploads(Bucket=work)


def test_a_fault_of_the_pieces_is_the_caller_s(stack: App) -> None:
    def broken() -> Iterator[str]:
        yield "one\n"
        raise ValueError("the table is broken")

    with pytest.raises(ValueError, match="broken"):
        objects.write_stream(stack.s3, stack.settings.work_bucket, KEY, broken(), "text/plain")
    assert objects.read_if_there(stack.s3, stack.settings.work_bucket, KEY) is None


def test_once_means_once(stack: App) -> None:
    work = stack.settings.work_bucket
    assert objects.write_once(stack.s3, work, KEY, b"first", "text/plain")
    assert not objects.write_once(stack.s3, work, KEY, b"second", "text/plain")
    assert objects.read(stack.s3, work, KEY) == b"first"
