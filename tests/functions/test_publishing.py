"""One JSON per upload, and the newest version's, however its writers overlap."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from tests.functions.builders import prediction_of, rejection_of, results, source
from tests.functions.interference import before_call, dies_before, refusing
from tomodrop import keys, objects
from tomodrop.clients import App
from tomodrop.predictions import Result
from tomodrop.publishing import Outcome, absent_keys, publish, publish_all
from tomodrop.slices import Source

Writer = Callable[[], bool]
Written = tuple[Source, str]
STATUSES = ("predicted", "rejected")
PAIRS = list(itertools.product(STATUSES, STATUSES))
HOME = {"predicted": "predictions/a.png.json", "rejected": "rejected/a.png.json"}
OLD, NEW = source(version_id="v1", sequencer="0060"), source(version_id="v2", sequencer="00605F")
VERSIONS = [source(version_id=f"v{n}", sequencer=f"006{n}") for n in range(3)]


def result_of(of: Source, status: str) -> Result:
    return prediction_of(of) if status == "predicted" else rejection_of(of)


def writer(stack: App, of: Source, status: str) -> Writer:
    bucket = stack.settings.predictions_bucket
    return lambda: publish(stack.s3, bucket, of, result_of(of, status))


def versions(stack: App) -> dict[str, str]:
    return {key: found["source"]["version_id"] for key, found in results(stack).items()}


def clear(stack: App) -> None:
    bucket = stack.settings.predictions_bucket
    for key in results(stack):
        stack.s3.delete_object(Bucket=bucket, Key=key)


def interrupted(
    stack: App, call: int, other: Callable[[], Any]
) -> AbstractContextManager[list[str]]:
    return before_call(call, other, stack.s3)


@pytest.mark.parametrize("together", [True, False])
def test_a_labelled_upload_and_an_incoming_one_never_share_a_result(
    stack: App, together: bool
) -> None:
    """Their keys differ in `incoming/` only, and the labelled one is the newer."""
    of_labelled = source("labelled/covid/p1/a.png", version_id="v2", sequencer="0061")
    bucket = stack.settings.predictions_bucket
    publish(stack.s3, bucket, source("incoming/labelled/covid/p1/a.png"), prediction_of(OLD))
    publish(stack.s3, bucket, source("incoming/covid/p1/a.png"), prediction_of(OLD))
    if together:
        with ThreadPoolExecutor(2) as pool:
            rejection = Outcome(of_labelled, rejection_of(of_labelled))
            publish_all(stack.s3, bucket, pool, [rejection])
    else:
        assert publish(stack.s3, bucket, of_labelled, rejection_of(of_labelled))
    assert sorted(results(stack)) == [
        "predictions/covid/p1/a.png.json",
        "predictions/labelled/covid/p1/a.png.json",
        "rejected-labelled/covid/p1/a.png.json",
    ]


@pytest.mark.parametrize("status", STATUSES)
def test_a_result_lies_where_its_status_says(stack: App, status: str) -> None:
    assert writer(stack, OLD, status)()
    (document,) = results(stack).values()
    assert list(results(stack)) == [HOME[status]]
    assert document["status"] == status
    assert document["source"]["sequencer"] == "0060"


def test_a_result_says_of_itself_that_it_is_json(stack: App) -> None:
    writer(stack, OLD, "predicted")()
    bucket = stack.settings.predictions_bucket
    head = stack.s3.head_object(Bucket=bucket, Key=HOME["predicted"])
    assert head["ContentType"] == "application/json"
    assert head["Metadata"] == {
        "upload-version": "v1",
        "upload-sequencer": "0060",
        "upload-modified": "2026-11-24T15:39:00+00:00",
    }


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_newer_version_replaces_an_older_one(stack: App, first: str, second: str) -> None:
    assert writer(stack, OLD, first)()
    assert writer(stack, NEW, second)()
    assert versions(stack) == {HOME[second]: "v2"}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_an_older_version_never_replaces_a_newer_one(stack: App, first: str, second: str) -> None:
    assert writer(stack, NEW, first)()
    assert not writer(stack, OLD, second)()
    assert versions(stack) == {HOME[first]: "v2"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_repeat_leaves_the_first_result_as_it_is(stack: App, status: str) -> None:
    assert writer(stack, OLD, status)()
    before = results(stack)
    assert not writer(stack, OLD, status)()
    assert results(stack) == before


@pytest.mark.parametrize(("first", "second"), [STATUSES, STATUSES[::-1]])
def test_of_one_version_a_prediction_outweighs_a_rejection(
    stack: App, first: str, second: str
) -> None:
    writer(stack, OLD, first)()
    writer(stack, OLD, second)()
    assert versions(stack) == {HOME["predicted"]: "v1"}


@pytest.mark.parametrize("versions_of", [(OLD, NEW), (NEW, OLD), (OLD, OLD)])
@pytest.mark.parametrize("statuses", PAIRS)
def test_two_writers_leave_one_json_wherever_one_comes_between(
    stack: App, versions_of: tuple[Source, Source], statuses: tuple[str, str]
) -> None:
    newest = max(versions_of, key=lambda of: of.version_id)
    for call in range(6):
        clear(stack)
        first, second = map(writer, (stack, stack), versions_of, statuses)
        with interrupted(stack, call, second) as seen:
            first()
        if len(seen) <= call:
            second()
        assert list(versions(stack).values()) == [newest.version_id], (call, seen)


@pytest.mark.parametrize(
    ("there", "late", "newest"),
    [
        # It looks, finds a newer rejection, and is about to delete its own prediction.
        ((VERSIONS[1], "rejected"), (VERSIONS[0], "predicted"), (VERSIONS[2], "predicted")),
        # It looks, finds an older rejection, and is about to delete that.
        ((VERSIONS[0], "rejected"), (VERSIONS[1], "predicted"), (VERSIONS[2], "rejected")),
    ],
    ids=["its own", "the other"],
)
def test_what_was_replaced_since_it_was_seen_is_not_deleted(
    stack: App, there: Written, late: Written, newest: Written
) -> None:
    writer(stack, *there)()
    with interrupted(stack, 2, writer(stack, *newest)) as seen:
        writer(stack, *late)()
    assert seen == ["PutObject", "HeadObject", "DeleteObject"]
    assert versions(stack) == {HOME[newest[1]]: "v2"}


@given(
    order=st.permutations(VERSIONS),
    statuses=st.lists(st.sampled_from(STATUSES), min_size=3, max_size=3),
    calls=st.tuples(st.integers(0, 6), st.integers(0, 9)),
    nested=st.booleans(),
)
@rules(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_three_writers_leave_the_newest(
    stack: App,
    order: list[Source],
    statuses: list[str],
    calls: tuple[int, int],
    nested: bool,
) -> None:
    clear(stack)
    first, second, third = (
        writer(stack, of, status) for of, status in zip(order, statuses, strict=True)
    )
    ran: list[bool] = []

    def third_once() -> None:
        if not ran:
            ran.append(third())

    def second_then() -> None:
        with interrupted(stack, calls[1], third_once) if nested else nullcontext():
            second()
        if nested:
            third_once()

    with interrupted(stack, calls[0], second_then) as seen:
        if nested:
            first()
        else:
            with interrupted(stack, calls[1], third_once):
                first()
    if len(seen) <= calls[0]:
        second_then()
    third_once()
    assert list(versions(stack).values()) == ["v2"]


@pytest.mark.parametrize("statuses", PAIRS)
@pytest.mark.parametrize("call", range(4))
def test_a_writer_that_dies_anywhere_is_made_good_by_its_repeat(
    stack: App, statuses: tuple[str, str], call: int
) -> None:
    writer(stack, OLD, statuses[0])()
    again = writer(stack, NEW, statuses[1])
    if dies_before(call, stack, again):
        again()
    assert versions(stack) == {HOME[statuses[1]]: "v2"}


# Many at once


def publish_together(stack: App, *pairs: tuple[Source, str]) -> None:
    bucket = stack.settings.predictions_bucket
    with ThreadPoolExecutor(4) as pool:
        outcomes = [Outcome(of, result_of(of, status)) for of, status in pairs]
        publish_all(stack.s3, bucket, pool, outcomes)


def uploads_named(*names: str) -> list[Source]:
    return [source(key=f"incoming/{name}") for name in names]


def test_many_are_published_with_one_call_each_and_a_listing(stack: App) -> None:
    uploads = uploads_named(*(f"{n:03d}.png" for n in range(40)))
    with before_call(10_000, lambda: None, stack.s3) as seen:
        publish_together(stack, *((of, "predicted") for of in uploads))
    assert sorted(seen) == ["ListObjectsV2"] + ["PutObject"] * 40
    assert len(results(stack)) == 40


def test_of_many_only_those_with_a_result_on_the_other_side_are_looked_at(stack: App) -> None:
    uploads = uploads_named("a.png", "b.png", "c.png")
    writer(stack, uploads[1], "rejected")()
    with before_call(10_000, lambda: None, stack.s3) as seen:
        publish_together(stack, *((of, "predicted") for of in uploads))
    assert seen[3:] == ["ListObjectsV2", "HeadObject", "DeleteObject"]
    assert sorted(versions(stack)) == [f"predictions/{name}.png.json" for name in "abc"]


def test_predictions_and_rejections_of_several_versions_end_as_one_by_one(stack: App) -> None:
    for order in itertools.permutations([(OLD, "predicted"), (NEW, "rejected"), (OLD, "rejected")]):
        clear(stack)
        publish_together(stack, *order)
        assert versions(stack) == {HOME["rejected"]: "v2"}


@pytest.mark.parametrize("versions_of", [(OLD, NEW), (NEW, OLD), (OLD, OLD)])
@pytest.mark.parametrize("statuses", PAIRS)
def test_a_single_writer_between_the_calls_of_many_leaves_one_json(
    stack: App, versions_of: tuple[Source, Source], statuses: tuple[str, str]
) -> None:
    newest = max(versions_of, key=lambda of: of.version_id)
    for call in range(6):
        clear(stack)
        second = writer(stack, versions_of[1], statuses[1])
        with interrupted(stack, call, second) as seen:
            publish_together(stack, (versions_of[0], statuses[0]))
        if len(seen) <= call:
            second()
        assert list(versions(stack).values()) == [newest.version_id], (call, seen)


@given(
    there=st.sets(st.text("ab/é", min_size=1, max_size=3)),
    wanted=st.lists(st.text("ab/é", min_size=1, max_size=3), max_size=6),
)
@rules(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_what_is_not_there_is_absent(
    stack: App, there: set[str], wanted: list[str]
) -> None:
    bucket = stack.settings.predictions_bucket
    for name in there:
        stack.s3.put_object(Bucket=bucket, Key=f"rejected/{name}.json")
    keys_wanted = [f"rejected/{name}.json" for name in wanted]
    present = set(objects.keys_under(stack.s3, bucket, ""))
    assert absent_keys(stack.s3, bucket, keys_wanted) == set(keys_wanted) - present
    for key in present:
        stack.s3.delete_object(Bucket=bucket, Key=key)


def test_a_long_listing_is_broken_off_and_the_rest_looked_at_one_by_one(
    stack: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    bucket = stack.settings.predictions_bucket
    for number in range(9):
        stack.s3.put_object(Bucket=bucket, Key=f"rejected/b{number}.json")
    wanted = [f"rejected/{name}.json" for name in ("a", "b1", "b10", "c")]
    assert absent_keys(stack.s3, bucket, wanted) == {"rejected/a.json", "rejected/b10.json"}
    rejection = uploads_named("z.png")[0]
    writer(stack, rejection, "rejected")()
    publish_together(stack, *((of, "predicted") for of in uploads_named("a.png", "z.png")))
    assert "rejected/z.png.json" not in objects.keys_under(stack.s3, bucket, "rejected/")


def test_one_of_many_that_is_refused_is_an_error(stack: App) -> None:
    with (
        refusing(stack.s3, "PutObject", "AccessDenied", status=403, times=1),
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        publish_together(stack, *((of, "predicted") for of in uploads_named("a.png", "b.png")))


# Races


def test_a_lost_race_is_run_again(stack: App) -> None:
    with refusing(stack.s3, "PutObject", "ConditionalRequestConflict", status=409, times=3) as no:
        assert writer(stack, OLD, "predicted")()
    assert len(no) == 3
    assert versions(stack) == {HOME["predicted"]: "v1"}


def test_a_result_that_vanishes_during_the_race_is_written_anew(stack: App) -> None:
    writer(stack, OLD, "predicted")()
    with interrupted(
        stack, 2, partial(clear, stack)
    ) as seen:  # after the look, before the conditional put
        assert writer(stack, NEW, "predicted")()
    assert seen[:3] == ["PutObject", "HeadObject", "PutObject"]
    assert versions(stack) == {HOME["predicted"]: "v2"}


def test_a_race_that_is_lost_for_ever_is_an_error(stack: App) -> None:
    with (
        refusing(stack.s3, "PutObject", "ConditionalRequestConflict", status=409),
        pytest.raises(ClientError, match="ConditionalRequestConflict"),
    ):
        writer(stack, OLD, "predicted")()
    assert results(stack) == {}


@pytest.mark.parametrize("operation", ["PutObject", "HeadObject"])
def test_a_refusal_of_another_kind_is_no_lost_race(stack: App, operation: str) -> None:
    writer(stack, OLD, "rejected")()
    with (
        refusing(stack.s3, operation, "AccessDenied", status=403) as refused,
        pytest.raises(ClientError, match="AccessDenied"),
    ):
        writer(stack, NEW, "predicted")()
    assert len(refused) == 1


def test_results_of_other_uploads_are_left_alone(stack: App) -> None:
    other = source(key="incoming/b.png", version_id="v9", sequencer="00FF")
    writer(stack, other, "rejected")()
    writer(stack, OLD, "predicted")()
    assert versions(stack) == {HOME["predicted"]: "v1", "rejected/b.png.json": "v9"}


def test_the_longest_keys_have_their_json(stack: App) -> None:
    longest = source(key="incoming/" + "肺" * 338)
    assert len(longest.key.encode()) == 1023
    assert writer(stack, longest, "predicted")()
    (key,) = results(stack)
    assert key == keys.prediction_key(longest.key)
    assert results(stack)[key]["source"]["key"] == longest.key
