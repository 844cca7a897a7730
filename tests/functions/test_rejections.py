"""A labelled upload is in the data set or rejected, as its newest version is, in any order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import intake
from tests.functions.builders import backdate, png, results, s3_event, s3_record, upload
from tests.functions.conftest import Context
from tests.functions.interference import before_call, dies_before, refusing
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.slices import read_lines
from tomodrop.sweeping import sweep

KEY = "labelled/covid/p1/a.png"
REJECTION = "rejected-labelled/covid/p1/a.png.json"
BAD, GOOD = b"no picture", png()
FIRST, SECOND = "0060", "00605F"
Record = dict[str, Any]


def take_in(*records: Record) -> None:
    intake.handler(s3_event(*records), Context())


def put(stack: App, body: bytes, sequencer: str) -> Record:
    return upload(stack, KEY, body, sequencer)


def version(record: Record) -> str:
    return str(record["s3"]["object"]["versionId"])


def rejected(stack: App) -> dict[str, str]:
    """Each rejection, and the version that it is of."""
    return {key: found["source"]["version_id"] for key, found in results(stack).items()}


def learnt(stack: App) -> set[str]:
    """The versions that the data set names."""
    work = stack.settings.work_bucket
    return {
        line.source.version_id
        for part in objects.keys_under(stack.s3, work, keys.DATASET_INDEX)
        for line in read_lines(objects.read(stack.s3, work, part))
    }


def clear(stack: App) -> None:
    for bucket in (stack.settings.predictions_bucket, stack.settings.work_bucket):
        for key in objects.keys_under(stack.s3, bucket, ""):
            stack.s3.delete_object(Bucket=bucket, Key=key)


def test_a_good_version_ends_the_rejection_of_the_one_before(stack: App) -> None:
    take_in(put(stack, BAD, FIRST))
    assert list(rejected(stack)) == [REJECTION]
    good = put(stack, GOOD, SECOND)
    take_in(good)
    assert (rejected(stack), learnt(stack)) == ({}, {version(good)})


def test_rejections_of_others_stay(stack: App) -> None:
    take_in(put(stack, BAD, FIRST))
    take_in(upload(stack, "incoming/covid/p1/a.png", BAD))
    take_in(upload(stack, "labelled/covid/p1/b.png", BAD))
    take_in(put(stack, GOOD, SECOND))
    assert list(results(stack)) == [
        "rejected/covid/p1/a.png.json",
        "rejected-labelled/covid/p1/b.png.json",
    ]


def test_a_good_version_that_comes_late_leaves_the_newer_rejection(stack: App) -> None:
    good, bad = put(stack, GOOD, FIRST), put(stack, BAD, SECOND)
    take_in(bad)
    take_in(good)
    assert rejected(stack) == {REJECTION: version(bad)}


def test_a_rejection_that_comes_late_does_not_stay(stack: App) -> None:
    bad, good = put(stack, BAD, FIRST), put(stack, GOOD, SECOND)
    take_in(good)
    take_in(bad)
    assert (rejected(stack), learnt(stack)) == ({}, {version(good)})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_rejections_the_newer_stays(stack: App, order: tuple[int, int]) -> None:
    records = put(stack, BAD, FIRST), put(stack, BAD, SECOND)
    for place in order:
        take_in(records[place])
    assert rejected(stack) == {REJECTION: version(records[1])}


def test_the_rejection_of_a_deleted_upload_stays(stack: App) -> None:
    bad = put(stack, BAD, FIRST)
    stack.s3.delete_object(Bucket=stack.settings.uploads_bucket, Key=KEY)
    take_in(bad)
    assert rejected(stack) == {REJECTION: version(bad)}


def test_without_versions_a_rejection_stays_until_a_good_upload(stack: App) -> None:
    uploads = stack.settings.uploads_bucket
    stack.s3.put_bucket_versioning(Bucket=uploads, VersioningConfiguration={"Status": "Suspended"})
    for body, sequencer, left in ((BAD, FIRST, [REJECTION]), (GOOD, SECOND, [])):
        stack.s3.put_object(Bucket=uploads, Key=KEY, Body=body)
        take_in(s3_record(KEY, None, sequencer))
        assert list(results(stack)) == left


def test_where_s3_does_not_tell_the_rejected_message_comes_again(stack: App) -> None:
    bad, _ = put(stack, BAD, FIRST), put(stack, GOOD, SECOND)
    with refusing(stack.s3, "HeadObject", "AccessDenied", status=403):
        answer = intake.handler(s3_event(bad), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}


# Two intakes at once


def each_interleaving(
    stack: App, begin: Callable[[], tuple[Record, Callable[[], Any]]], holds: Callable[[], None]
) -> None:
    """Let another act before each call of an intake, from a fresh bucket each time."""
    for number in range(20):
        clear(stack)
        record, other = begin()
        with before_call(number, other, stack.s3) as calls:
            take_in(record)
        if len(calls) <= number:
            assert number > 2
            return
        holds()
    raise AssertionError("an intake has more calls than were tried")


def test_whenever_a_good_version_comes_the_older_rejection_goes(stack: App) -> None:
    def begin() -> tuple[Record, Callable[[], Any]]:
        return put(stack, BAD, FIRST), lambda: take_in(put(stack, GOOD, SECOND))

    def holds() -> None:
        assert (rejected(stack), len(learnt(stack))) == ({}, 1)

    each_interleaving(stack, begin, holds)


@pytest.mark.parametrize("before", [BAD, GOOD], ids=["rejected before", "good before"])
def test_whenever_a_newer_version_is_rejected_its_rejection_stays(
    stack: App, before: bytes
) -> None:
    newest: list[str] = []

    def begin() -> tuple[Record, Callable[[], Any]]:
        take_in(put(stack, before, "005F"))

        def reject_newer() -> None:
            bad = put(stack, BAD, SECOND)
            newest[:] = [version(bad)]
            take_in(bad)

        return put(stack, GOOD, FIRST), reject_newer

    def holds() -> None:
        assert rejected(stack) == {REJECTION: newest[0]}

    each_interleaving(stack, begin, holds)


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_whenever_it_dies_its_next_try_makes_it_good(stack: App) -> None:
    for first, last in ((FIRST, SECOND), (SECOND, FIRST)):
        bodies = {FIRST: BAD, SECOND: GOOD}
        for number in range(20):
            records = {sequencer: put(stack, body, sequencer) for sequencer, body in bodies.items()}
            take_in(records[first])
            died = dies_before(number, stack, partial(take_in, records[last]))
            take_in(records[last])
            assert rejected(stack) == {}, f"died before call {number}"
            if not died:
                break
        assert number > 2


# Sweep


def test_sweep_lets_go_what_intake_could_not(stack: App) -> None:
    take_in(put(stack, BAD, FIRST))
    good = put(stack, GOOD, SECOND)
    assert dies_before(3, stack, partial(take_in, good))
    assert learnt(stack) == {version(good)}
    assert rejected(stack) != {}
    later = datetime.now(UTC) + timedelta(hours=2)
    assert sweep(stack, later).sent_again == 0
    assert rejected(stack) == {}


def test_whenever_a_newer_version_is_rejected_sweep_leaves_its_rejection(stack: App) -> None:
    uploads, later = stack.settings.uploads_bucket, datetime.now(UTC) + timedelta(hours=2)
    for number in range(20):
        clear(stack)
        take_in(put(stack, BAD, "005F"))
        good = put(stack, GOOD, FIRST)
        dies_before(3, stack, partial(take_in, good))
        backdate(uploads, KEY, timedelta(hours=1))
        with before_call(number, lambda: take_in(put(stack, BAD, SECOND)), stack.s3) as calls:
            sweep(stack, later)
        if len(calls) <= number:
            break
        (left,) = results(stack).values()
        assert left["source"]["sequencer"] == SECOND, f"rejected before call {number}"
    assert number > 5
