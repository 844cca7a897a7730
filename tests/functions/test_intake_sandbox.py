"""Intake and its sandbox: a hostile upload costs itself alone, a volume goes its way as one."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import collect
import intake
from tests.functions.builders import go_live, png, put_answers, results, s3_event, upload
from tests.functions.conftest import Context
from tests.functions.labelled import gathered, usable
from tests.functions.test_predictions import VALIDATOR
from tomodrop import keys, objects
from tomodrop.batches import Batches
from tomodrop.clients import App
from tomodrop.dataset import unusable
from tomodrop.decoding import sandbox_of
from tomodrop.dispatching import dispatch
from tomodrop.errors import OutOfTimeError
from tomodrop.events import UploadEvent
from tomodrop.imaging.limits import Limits
from tomodrop.sandbox.bounds import Bounds
from tomodrop.sandbox.parent import Sandbox
from tomodrop.settings import Settings
from tomodrop.slices import IndexLine, Label, read_lines
from tomodrop.uploads import DecodingTime, Intake

POSITIVE = b'{"prediction": [0.1, 0.9]}'


@pytest.fixture(scope="module")
def hostile() -> Iterator[Sandbox]:
    """A sandbox whose decoder does what uploads ask for."""
    with Sandbox(
        (3, 64, 64), Limits(), Bounds(memory_mb=256, seconds=20), decode="hostile:by_content"
    ) as made:
        yield made


@pytest.fixture
def stack(stack: App, hostile: Sandbox, monkeypatch: pytest.MonkeyPatch) -> App:
    """The stack, whose intake is composed with that sandbox."""
    monkeypatch.setattr(intake, "sandbox", lambda: hostile)
    return stack


def handle(*records: dict[str, Any]) -> list[str]:
    """Hand uploads to intake in one event. Returns the messages that come again."""
    answer = intake.handler(s3_event(*records), Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def index(stack: App, folder: str) -> list[IndexLine]:
    work = stack.settings.work_bucket
    return [
        line
        for key in objects.keys_under(stack.s3, work, folder)
        if "/index/" in key
        for line in read_lines(objects.read(stack.s3, work, key))
    ]


@pytest.mark.parametrize(
    ("deed", "code"),
    [("read_null", "decoder_crashed"), ("allocate", "decode_memory")],
)
def test_a_hostile_upload_costs_itself_alone(stack: App, deed: str, code: str) -> None:
    records = [
        upload(stack, "incoming/good.png", png()),
        upload(stack, "incoming/hostile.png", f"{deed}\n".encode()),
        upload(stack, "incoming/other.png", png(grey=9)),
    ]
    assert handle(*records) == []
    assert {key: document["rejection"]["code"] for key, document in results(stack).items()} == {
        "rejected/hostile.png.json": code
    }
    named = {line.source.key for line in index(stack, "batches/")}
    assert named == {"incoming/good.png", "incoming/other.png"}
    VALIDATOR.validate(results(stack)["rejected/hostile.png.json"])


def test_a_repeated_event_ends_the_same(stack: App) -> None:
    records = [
        upload(stack, "incoming/hostile.png", b"abort\n"),
        upload(stack, "incoming/good.png", png()),
    ]
    assert handle(*records) == []
    first, lines = results(stack), index(stack, "batches/")
    assert handle(*records) == []
    assert results(stack) == first
    assert sorted({line.slice_id for line in index(stack, "batches/")}) == [lines[0].slice_id]


def test_a_real_picture_may_take_too_much_memory(stack: App, settings: Settings) -> None:
    tight = settings.model_copy(update={"decode_memory_mb": 64})
    event = _event(stack, "incoming/large.png", png((4096, 4096), mode="RGB"))
    with sandbox_of(tight) as made:
        assert Intake(stack, datetime.now(UTC), made).take_in(event) == "rejected"
    rejection = results(stack)["rejected/large.png.json"]["rejection"]
    assert (rejection["code"], "more than 64 MiB" in rejection["message"]) == (
        "decode_memory",
        True,
    )


def test_settings_bound_the_sandbox(settings: Settings) -> None:
    changed = settings.model_copy(
        update={
            "max_pixels_per_slice": 5000,
            "max_slices_per_upload": 3,
            "lung_window_level_hu": -500.0,
            "lung_window_width_hu": 1400.0,
            "decode_memory_mb": 77,
            "decode_seconds": 4.5,
        }
    )
    setup = sandbox_of(changed)._setup
    assert setup.bounds == Bounds(memory_mb=77, seconds=4.5)
    assert (setup.limits.max_pixels_per_plane, setup.limits.max_planes) == (5000, 3)
    assert setup.limits.max_side_px == 70
    assert (setup.limits.window_level_hu, setup.limits.window_width_hu) == (-500.0, 1400.0)
    assert setup.decode == "tomodrop.imaging.normaliser:normalise"


# Time


def _event(stack: App, key: str, body: bytes) -> UploadEvent:
    bucket = stack.settings.uploads_bucket
    put = stack.s3.put_object(Bucket=bucket, Key=key, Body=body)
    return UploadEvent(bucket, key, put["VersionId"], put["ETag"].strip('"'), "0060", len(body))


def test_what_comes_first_is_given_the_longest_and_what_comes_later_what_is_left() -> None:
    given = DecodingTime(started=100.0, all_s=48.0, longest_s=20.0)
    assert given.for_the_next(105.0) == 20.0
    assert given.for_the_next(125.0) == 20.0
    assert given.for_the_next(145.0) == 3.0
    for now in (148.0, 200.0):
        with pytest.raises(OutOfTimeError, match="comes again"):
            given.for_the_next(now)
    assert DecodingTime(started=100.0, all_s=48.0, longest_s=20.0).for_the_next(500.0) == 20.0


def test_who_runs_out_of_what_was_left_comes_again(
    stack: App, change: Callable[..., App], hostile: Sandbox
) -> None:
    hostile.normalise(png())  # it is warm
    work = Intake(change(intake_timeout_seconds=2), datetime.now(UTC), hostile)
    assert work.take_in(_event(stack, "incoming/first.png", b"hang\n")) == "rejected"
    rejection = results(stack)["rejected/first.png.json"]["rejection"]
    assert rejection["code"] == "decode_timeout"
    assert "after 1.2 seconds" in rejection["message"]
    for key, body in (("incoming/second.png", b"hang\n"), ("incoming/third.png", png())):
        with pytest.raises(OutOfTimeError):
            work.take_in(_event(stack, key, body))
    assert list(results(stack)) == ["rejected/first.png.json"]


def test_a_hanging_upload_takes_no_longer_than_it_is_given(
    stack: App, change: Callable[..., App], hostile: Sandbox
) -> None:
    started = time.monotonic()
    work = Intake(change(decode_seconds=0.5), datetime.now(UTC), hostile)
    assert work.take_in(_event(stack, "incoming/hang.png", b"spin\n")) == "rejected"
    assert work.take_in(_event(stack, "incoming/good.png", png())) == "taken_in"
    assert time.monotonic() - started < 15


# Volumes


def test_a_volume_is_named_slice_by_slice(stack: App) -> None:
    assert handle(upload(stack, "incoming/volume.nii", b"volume -++-\n" + png())) == []
    lines = sorted(index(stack, "batches/"), key=lambda line: line.index)
    assert [(line.index, line.count) for line in lines] == [(place, 4) for place in range(4)]
    assert [line.position_mm for line in lines] == [0.0, 2.5, 5.0, 7.5]
    assert [line.has_lung for line in lines] == [False, True, True, False]
    assert {line.lung_window_hu for line in lines} == {(-600.0, 1500.0)}
    assert len({line.slice_id for line in lines}) == 4
    work = stack.settings.work_bucket
    pictures = [key for key in objects.keys_under(stack.s3, work, "batches/") if "/slices/" in key]
    assert len(pictures) == 4


def test_a_labelled_volume_is_one_group_and_learnt_from_where_it_shows_lung(stack: App) -> None:
    record = upload(stack, "labelled/covid/p7/volume.nii", b"volume -++-\n" + png())
    assert handle(record) == []
    lines = index(stack, "dataset/")
    assert {line.label for line in lines} == {Label(name="covid", group="p7")}
    assert len(lines) == 4
    with_lung = sorted(line.slice_id for line in lines if line.has_lung)
    assert usable(stack) == [(name, 1, "p7") for name in with_lung]
    assert len(with_lung) == 2
    with gathered(stack) as tables:
        assert unusable(tables).slices == {"no_lung": 2}


def test_a_labelled_picture_is_learnt_from_whatever_it_shows(stack: App) -> None:
    assert handle(upload(stack, "labelled/covid/p7/a.png", b"volume -\n" + png())) == []
    assert len(usable(stack)) == 1


def test_slices_of_another_lung_window_are_to_be_made_again(
    stack: App, change: Callable[..., App]
) -> None:
    assert handle(upload(stack, "labelled/covid/p7/a.png", png())) == []
    assert len(usable(stack)) == 1
    assert usable(change(lung_window_level_hu=-500.0)) == []


def test_a_volume_larger_than_a_job_is_one_job_and_one_json(stack: App) -> None:
    signs = "-" * 10 + "+" * 100 + "-" * 10
    assert stack.settings.max_slices_per_job < len(signs)
    body = f"volume {signs}\n".encode() + png()
    assert handle(upload(stack, "incoming/a/volume.nii", body)) == []
    go_live(stack)
    dispatch(stack, datetime.now(UTC) + timedelta(hours=1))
    (part,) = Batches(stack.table).submitted()
    lines = list(read_lines(objects.read(stack.s3, stack.settings.work_bucket, part.slices_key)))
    job = keys.parse_job_name(part.job, "tomodrop")
    put_answers(stack, job, lines, POSITIVE)
    ended = {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Transform Job State Change",
        "detail": {"TransformJobName": part.job, "TransformJobStatus": "Completed"},
    }
    collect.handler(ended, Context())
    (document,) = results(stack).values()
    VALIDATOR.validate(document)
    assert len(document["slices"]) == len(signs)
    assert [one["index"] for one in document["slices"]] == list(range(len(signs)))
    assert document["slices"][7]["position_mm"] == 17.5
    assert document["volume"]["slices_used"] == list(range(10, 110))
    assert document["warnings"][-1] == "20 of 120 slices show no lung and do not count."
    assert json.dumps(document).count("position_mm") == len(signs)
