"""Planning: which files are complete, which are up already, which are answered."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.folders import LocalFile
from local.plan import (
    QUIET_SECONDS,
    Answer,
    Lookup,
    Sighting,
    Version,
    answers_version,
    has_same_content,
    is_complete,
    sight,
)
from tomodrop import keys

LOOKUP = Lookup(keys.prediction_key, keys.rejection_key)
SECOND = 10**9


def file(key: str = "incoming/a.png", size: int = 5, modified_ns: int = 0) -> LocalFile:
    return LocalFile(Path("/inbox/a.png"), key, size, modified_ns)


def version(version_id: str = "v2", etag: str = "e2", size: int = 5) -> Version:
    return Version(version_id, etag, size, datetime(2026, 11, 24, tzinfo=UTC))


def answer(version_id: str = "v2", etag: str = "e2", status: str = "predicted") -> Answer:
    return Answer(status, version_id, etag)


def never(_: LocalFile) -> str:
    pytest.fail("read a file whose size tells enough")


def test_a_file_modified_long_ago_is_complete_at_first_sight() -> None:
    assert is_complete(file(), Sighting((5, 0), since=100.0), now=100.0, wall_ns=10 * SECOND)


@pytest.mark.parametrize("modified_ns", [99 * SECOND, 100 * SECOND, 9999 * SECOND])
def test_a_fresh_file_or_one_from_the_future_waits_until_it_is_quiet(modified_ns: int) -> None:
    fresh, seen = file(modified_ns=modified_ns), Sighting((5, modified_ns), since=50.0)
    wall_ns = 100 * SECOND
    assert not is_complete(fresh, seen, now=50.0 + QUIET_SECONDS / 2, wall_ns=wall_ns)
    assert is_complete(fresh, seen, now=50.0 + QUIET_SECONDS, wall_ns=wall_ns)


def test_a_file_that_changes_is_sighted_anew() -> None:
    before = sight([file(), file("incoming/b.png")], {}, now=1.0)
    after = sight([file(size=6), file("incoming/b.png")], before, now=2.0)
    assert after == {
        "incoming/a.png": Sighting((6, 0), since=2.0),
        "incoming/b.png": Sighting((5, 0), since=1.0),
    }


def test_a_file_that_is_gone_is_forgotten() -> None:
    assert sight([], {"incoming/a.png": Sighting((5, 0), 1.0)}, now=2.0) == {}


def test_the_same_bytes_are_not_uploaded_again() -> None:
    assert has_same_content(file(), version(etag="abc"), lambda _: "abc")


def test_other_bytes_of_the_same_size_are() -> None:
    assert not has_same_content(file(), version(etag="abc"), lambda _: "abd")


@pytest.mark.parametrize("stored", [None, version(size=6)])
def test_a_file_is_read_only_where_its_size_leaves_it_open(stored: Version | None) -> None:
    assert not has_same_content(file(), stored, never)


def test_an_answer_to_an_older_version_does_not_count_even_with_the_same_bytes() -> None:
    assert answers_version(answer("v2"), version("v2"))
    assert not answers_version(answer("v1"), version("v2"))
    assert not answers_version(None, version())


def test_without_version_ids_the_etag_tells() -> None:
    assert answers_version(answer("", "e2"), version("", "e2"))
    assert not answers_version(answer("", "e1"), version("", "e2"))


def test_predictions_and_rejections_are_both_answers() -> None:
    uploads = {f"incoming/{name}": version() for name in ("a.png", "b/c.png", "open.png")}
    answers = {
        "predictions/a.png.json": answer(),
        "rejected/b/c.png.json": answer(status="rejected"),
        "predictions/open.png.json": answer("v1"),
        "rejected-labelled/covid/p/x.png.json": answer(status="rejected"),
    }
    assert LOOKUP.answered(uploads, answers) == {
        "incoming/a.png": answers["predictions/a.png.json"],
        "incoming/b/c.png": answers["rejected/b/c.png.json"],
    }


def test_a_leftover_of_the_other_kind_does_not_hide_the_answer() -> None:
    answers = {
        "predictions/a.png.json": answer("v1"),
        "rejected/a.png.json": answer("v2", status="rejected"),
    }
    found = LOOKUP.answer_to("incoming/a.png", version("v2"), answers)
    assert found
    assert found.status == "rejected"


def test_the_longest_keys_are_found_under_their_cut_names() -> None:
    key = "incoming/" + "x" * 1015
    answers = {keys.prediction_key(key): answer()}
    assert LOOKUP.answered({key: version()}, answers) == {key: answer()}
