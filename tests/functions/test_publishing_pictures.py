"""The picture of class-activation maps beside a prediction: of the same version, or not there."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functions.builders import prediction_of, results
from tests.functions.interference import before_call, dies_before
from tests.functions.test_publishing import NEW, OLD, STATUSES, interrupted, result_of
from tomodrop import objects
from tomodrop.clients import App
from tomodrop.predictions import ClassMaps, SliceMap
from tomodrop.publishing import Outcome, publish_all
from tomodrop.slices import Source

PICTURE = "predictions/a.png.map.png"
MAPPED = "mapped"
KINDS = (*STATUSES, MAPPED)
MIXES = list(itertools.product(KINDS, KINDS))


def outcome(of: Source, kind: str) -> Outcome:
    """A rejection, a prediction, or one with a picture, which says of which version it is."""
    if kind != MAPPED:
        return Outcome(of, result_of(of, kind))
    named = ClassMaps(
        key=PICTURE,
        width=2,
        height=2,
        maps=[SliceMap(index=0, label="covid", low=0, high=1)],
    )
    prediction = prediction_of(of).model_copy(update={"class_maps": named})
    return Outcome(of, prediction, b"picture of " + of.version_id.encode())


def mapped_writer(stack: App, of: Source, kind: str) -> Callable[[], None]:
    def write() -> None:
        with ThreadPoolExecutor(1) as pool:
            publish_all(stack.s3, stack.settings.predictions_bucket, pool, [outcome(of, kind)])

    return write


def check_pictures(stack: App, version: str, kinds: set[str]) -> None:
    """One JSON, of this version and one of these kinds; its own picture if it names one."""
    ((_, document),) = results(stack).items()
    assert document["source"]["version_id"] == version
    has_map = "class_maps" in document
    assert (MAPPED if has_map else document["status"]) in kinds
    bucket = stack.settings.predictions_bucket
    picture = objects.read_if_there(stack.s3, bucket, PICTURE)
    assert picture == (b"picture of " + version.encode() if has_map else None)


def empty(stack: App) -> None:
    bucket = stack.settings.predictions_bucket
    for key in objects.keys_under(stack.s3, bucket, ""):
        stack.s3.delete_object(Bucket=bucket, Key=key)


def test_a_picture_lies_beside_its_prediction_and_says_what_it_is(stack: App) -> None:
    with before_call(10_000, lambda: None, stack.s3) as seen:
        mapped_writer(stack, OLD, MAPPED)()
    assert seen == ["PutObject", "PutObject", "ListObjectsV2"]
    bucket = stack.settings.predictions_bucket
    head = stack.s3.head_object(Bucket=bucket, Key=PICTURE)
    assert head["ContentType"] == "image/png"
    assert head["Metadata"]["upload-version"] == "v1"
    check_pictures(stack, "v1", {MAPPED})


@pytest.mark.parametrize("kinds", MIXES)
def test_pictures_go_by_the_rules_of_their_json(stack: App, kinds: tuple[str, str]) -> None:
    for older, newer in ((OLD, NEW), (NEW, OLD)):
        empty(stack)
        mapped_writer(stack, older, kinds[0])()
        mapped_writer(stack, newer, kinds[1])()
        check_pictures(stack, "v2", {kinds[1] if newer is NEW else kinds[0]})


@pytest.mark.parametrize("kinds", MIXES)
@pytest.mark.parametrize("versions_of", [(OLD, NEW), (NEW, OLD), (OLD, OLD)])
def test_two_writers_leave_no_picture_without_its_json_and_no_json_without_its_picture(
    stack: App, versions_of: tuple[Source, Source], kinds: tuple[str, str]
) -> None:
    newest = max(versions_of, key=lambda of: of.version_id)
    of_newest = {kind for of, kind in zip(versions_of, kinds, strict=True) if of == newest}
    for call in range(20):
        empty(stack)
        first, second = map(mapped_writer, (stack, stack), versions_of, kinds)
        with interrupted(stack, call, second) as seen:
            first()
        if call >= len(seen):
            break
        check_pictures(stack, newest.version_id, of_newest)


@pytest.mark.parametrize("kinds", MIXES)
def test_a_writer_that_dies_and_comes_again_leaves_pictures_in_order(
    stack: App, kinds: tuple[str, str]
) -> None:
    for call in range(20):
        empty(stack)
        mapped_writer(stack, OLD, kinds[0])()
        again = mapped_writer(stack, NEW, kinds[1])
        died = dies_before(call, stack, again)
        again()
        check_pictures(stack, "v2", {kinds[1]})
        if not died:
            break
