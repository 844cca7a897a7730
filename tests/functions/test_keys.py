"""Where everything lies: longest keys, names there and back, and names of others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomodrop import keys
from tomodrop.errors import EventError
from tomodrop.keys import JobName, parse_job_name

PREFIXES = st.sampled_from(["t", "tomodrop", "a-b", "A--9", "train-0001-1", "a" * 20, "0-0-0"])
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=400)
BATCH = "20261124T153900Z"


@given(PREFIXES, st.integers(0, 12_000), st.integers(1, 10))
def test_a_job_name_is_taken_apart_as_it_was_made(prefix: str, part: int, attempt: int) -> None:
    job = JobName(prefix, BATCH, f"{part:04d}", attempt)
    assert parse_job_name(str(job), prefix) == job
    # SageMaker API, CreateTransformJob, TransformJobName
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", str(job))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "tomodrop",
        f"tomodrop-{BATCH}",
        f"tomodrop-{BATCH}-0001",
        f"tomodrop-{BATCH}-0001-",
        f"tomodrop-{BATCH}-0001-x",
        f"tomodrop-{BATCH}-0001-0",
        f"tomodrop-{BATCH}-0001-01",
        f"tomodrop-{BATCH}-001-1",
        f"tomodrop-{BATCH}-0001-1\n",
        f"tomodrop-{BATCH}-0001-١",
        f"-{BATCH}-0001-1",
        f"{BATCH}-0001-1",
        f"other-{BATCH}-0001-1",
        f"my-tomodrop-{BATCH}-0001-1",
        f"tomodrop-a-{BATCH}-0001-1",
        "tomodrop-20261124t153900z-0001-1",
        "tomodrop-train-20261124T153900Z",
    ],
)
def test_a_job_that_is_not_ours_is_refused(name: str) -> None:
    with pytest.raises(EventError, match="is not a transform job of this stack"):
        parse_job_name(name, "tomodrop")


@pytest.mark.parametrize(
    ("upload", "prediction", "rejection"),
    [
        ("incoming/a.png", "predictions/a.png.json", "rejected/a.png.json"),
        ("incoming/a/b c+肺.png", "predictions/a/b c+肺.png.json", "rejected/a/b c+肺.png.json"),
        ("incoming/a", "predictions/a.json", "rejected/a.json"),
        (
            "incoming/labelled/covid/p1/c.png",
            "predictions/labelled/covid/p1/c.png.json",
            "rejected/labelled/covid/p1/c.png.json",
        ),
        ("incoming/incoming/a", "predictions/incoming/a.json", "rejected/incoming/a.json"),
    ],
)
def test_results_mirror_the_path_of_the_upload(
    upload: str, prediction: str, rejection: str
) -> None:
    assert keys.prediction_key(upload) == prediction
    assert keys.rejection_key(upload) == rejection


def test_labelled_uploads_are_rejected_in_a_folder_of_their_own() -> None:
    assert keys.rejection_key("labelled/covid/p1/c.png") == "rejected-labelled/covid/p1/c.png.json"
    twin = keys.rejection_key("incoming/labelled/covid/p1/c.png")
    assert twin != keys.rejection_key("labelled/covid/p1/c.png")


@pytest.mark.parametrize(
    ("key", "size_bytes", "is_one"),
    [
        ("incoming/", 0, True),
        ("labelled/covid/", 0, True),
        ("incoming/a/", 1, False),
        ("incoming/a", 0, False),
    ],
)
def test_what_only_stands_for_a_folder(key: str, size_bytes: int, is_one: bool) -> None:
    assert keys.is_folder_marker(key, size_bytes) is is_one


@pytest.mark.parametrize("letter", ["a", "ü", "肺", "🫁"])
@pytest.mark.parametrize("folder", ["incoming/", "labelled/covid/p1/"])
def test_the_longest_keys_have_results_of_their_own(letter: str, folder: str) -> None:
    room = keys.MAX_KEY_BYTES - len(folder)
    longest = folder + letter * (room // len(letter.encode()))
    sibling = longest[:-1] + "x"
    made = [
        name(key)
        for key in (longest, sibling)
        for name in (keys.prediction_key, keys.rejection_key)
    ]
    assert len(set(made)) == 4
    assert all(len(key.encode()) <= keys.MAX_KEY_BYTES for key in made)
    assert all(key.endswith(".json") for key in made)


def test_a_key_is_cut_only_where_it_must_be() -> None:
    fits = "incoming/" + "a" * (1024 - len("rejected-labelled/.json"))
    assert keys.prediction_key(fits) == f"predictions/{fits[9:]}.json"
    assert keys.rejection_key(fits) == f"rejected/{fits[9:]}.json"
    assert re.search(r"~[0-9a-f]{16}\.json$", keys.prediction_key(fits + "a"))


@given(st.text(st.characters(codec="utf-8"), min_size=200, max_size=400))
def test_what_is_certain_of_a_name_stands_in_it(text: str) -> None:
    path = (text * 6).encode()[:1015].decode(errors="ignore")
    certain = path.encode()[: keys.CERTAIN_NAME_BYTES]
    assert keys.result_name(f"incoming/{path}").encode().startswith(certain)


@given(TEXT, TEXT)
def test_different_uploads_have_different_results(one: str, other: str) -> None:
    first, second = f"incoming/{one}", f"incoming/{other}"
    assert (keys.prediction_key(first) == keys.prediction_key(second)) == (one == other)
    assert len(keys.rejection_key(first).encode()) <= keys.MAX_KEY_BYTES


def test_an_upload_version_has_one_id() -> None:
    made = keys.upload_id("incoming/a", "v1", "e")
    assert made == keys.upload_id("incoming/a", "v1", "another etag")
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    others = [("incoming/a", "v2", "e"), ("incoming/b", "v1", "e"), ("incoming/a\0v1", "", "e")]
    assert made not in {keys.upload_id(*other) for other in others}


@pytest.mark.parametrize("version", ["", "null"])
def test_without_versioning_the_etag_tells_versions_apart(version: str) -> None:
    assert keys.upload_id("k", version, "e1") == keys.upload_id("k", "", "e1")
    assert keys.upload_id("k", version, "e1") != keys.upload_id("k", version, "e2")


def test_slices_sort_in_their_order() -> None:
    made = [keys.slice_id("u", index) for index in (0, 9, 10, 99_999)]
    assert made == sorted(made)
    assert made[0] == "u-00000"


def test_an_index_part_is_named_after_what_is_in_it() -> None:
    assert keys.part_id(["b", "a"]) == keys.part_id(["a", "b"])
    assert keys.part_id(["a", "b"]) != keys.part_id(["ab"])


def test_folders_are_as_they_are_documented() -> None:
    job = JobName("tomodrop", BATCH, "0001", 2)
    assert keys.batch_slices(BATCH) == f"batches/{BATCH}/slices/"
    assert keys.batch_index(BATCH) == f"batches/{BATCH}/index/"
    assert keys.part_slices(BATCH, "0001", 2) == f"batches/{BATCH}/parts/0001/2.jsonl"
    assert keys.job_manifest(job) == f"batches/{BATCH}/jobs/{job}/manifest.json"
    assert keys.job_outputs(job) == f"batches/{BATCH}/jobs/{job}/out/"


@pytest.mark.parametrize(
    "output",
    [
        "batches/b/jobs/j/out/{}.png.out",
        "batches/b/jobs/j/out/batches/b/slices/{}.png.out",
        "{}.png.out",
    ],
)
def test_an_output_tells_its_slice_wherever_it_is_mirrored(output: str) -> None:
    slice_id = keys.slice_id(keys.upload_id("incoming/a", "v", ""), 3)
    assert keys.slice_of_output(output.format(slice_id)) == slice_id
