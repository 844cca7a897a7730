"""A training's figures: copied to where people look, whatever the archive holds."""

import io
import tarfile
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.functions.builders import MODEL
from tests.functions.evaluations import CREATED, JOB, evaluations, running_until_answered, train
from tests.functions.interference import refusing
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.figures import copy_figures
from tomodrop.live_model import write_live_model
from tomodrop.promotion import promote


def pack(stack: App, files: dict[str, bytes], *members: tarfile.TarInfo) -> None:
    """The job's output.tar.gz with these files, and members without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for member in members:
            archive.addfile(member)
    put(stack, buffer.getvalue())


def put(stack: App, body: bytes) -> None:
    key = f"training/{JOB}/output/output.tar.gz"
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/gzip")


def shown(stack: App) -> dict[str, bytes]:
    bucket = stack.settings.predictions_bucket
    return {
        key: objects.read(stack.s3, bucket, key) for key in objects.keys_under(stack.s3, bucket, "")
    }


def test_figures_lie_where_the_decision_will(stack: App) -> None:
    train(stack)
    pack(stack, {"data/metrics.jsonl": b"{}\n", "accuracy.png": b"PNG", "model.json": b"{}"})
    with running_until_answered(stack):
        promote(stack, JOB)
    folder = f"models/{JOB}"
    assert shown(stack) == {
        f"{folder}/metrics.jsonl": b"{}\n",
        f"{folder}/accuracy.png": b"PNG",
        f"{folder}/model.json": b"{}",
    }
    bucket = stack.settings.predictions_bucket
    head = stack.s3.head_object(Bucket=bucket, Key=f"{folder}/accuracy.png")
    assert head["ContentType"] == "image/png"


def test_every_picture_of_our_algorithm_is_shown(stack: App) -> None:
    pictures = ["accuracy.png", "confusion.png", "reliability.png", "roc.png"]
    pack(stack, dict.fromkeys(pictures, b"PNG"))
    assert copy_figures(stack, JOB) == [f"models/{JOB}/{name}" for name in pictures]


def test_without_figures_there_is_nothing_to_copy(stack: App) -> None:
    assert copy_figures(stack, JOB) == []


def test_figures_of_a_model_that_is_not_even_scored_are_shown_too(stack: App) -> None:
    newer = MODEL.model_copy(update={"trained_at": CREATED + timedelta(days=1)})
    write_live_model(stack, newer)
    train(stack)
    pack(stack, {"accuracy.png": b"PNG"})
    promote(stack, JOB)
    assert f"models/{JOB}/accuracy.png" in shown(stack)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_no_member_leads_anywhere_else(stack: App) -> None:
    pack(
        stack,
        {
            "../../../predictions/a.png.json": b"1",
            "/etc/b.json": b"2",
            "..": b"3",
            "./.png": b"4",
            "c.sh": b"5",
            "e.tar.gz": b"6",
        },
        special("link.json", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard.json", tarfile.LNKTYPE, "/etc/b.json"),
        special("device.json", tarfile.CHRTYPE),
        special("pipe.json", tarfile.FIFOTYPE),
        special("folder.json", tarfile.DIRTYPE),
    )
    assert sorted(copy_figures(stack, JOB)) == [
        f"models/{JOB}/a.png.json",
        f"models/{JOB}/b.json",
    ]
    assert sorted(shown(stack)) == [f"models/{JOB}/a.png.json", f"models/{JOB}/b.json"]


def test_what_is_too_large_or_too_many_is_left_out(stack: App) -> None:
    pack(stack, {"large.json": bytes(33 * 2**20), "small.json": b"{}"})
    assert copy_figures(stack, JOB) == [f"models/{JOB}/small.json"]
    pack(stack, {f"{number:03d}.json": b"{}" for number in range(70)})
    assert len(copy_figures(stack, JOB)) == 64


def archive_of(files: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number in range(files):
            member = tarfile.TarInfo(f"{number}.json")
            member.size = 4096
            archive.addfile(member, io.BytesIO(bytes(4096)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no archive",
        b"\x1f\x8b\x08\x00",
        archive_of(9)[:-30],
        archive_of(9)[:40],
        archive_of(9)[:60] + b"\xff" * 40 + archive_of(9)[100:],
    ],
    ids=["empty", "text", "header only", "cut off", "cut off early", "garbled"],
)
def test_a_damaged_archive_does_not_keep_a_good_model_back(stack: App, body: bytes) -> None:
    train(stack)
    put(stack, body)
    assert promote(stack, JOB) is None
    assert len(evaluations(stack)) == 1, "it is scored all the same"


@pytest.mark.parametrize("name", ["decision.json", "evaluation.json", "audit.json"])
def test_an_algorithm_does_not_say_what_is_decided_of_it(stack: App, name: str) -> None:
    pack(stack, {f"out/{name}": b'{"decision": "promoted"}', "model.json": b"{}"})
    assert copy_figures(stack, JOB) == [f"models/{JOB}/model.json"]


def test_an_archive_that_cannot_be_read_now_is_an_error(stack: App) -> None:
    pack(stack, {"a.json": b"{}"})
    with (
        refusing(stack.s3, "HeadObject", "403", status=403),
        pytest.raises(ClientError, match="403"),
    ):
        copy_figures(stack, JOB)
