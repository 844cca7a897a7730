"""OUT is the predictions bucket: whole files only, one JSON per upload, nothing fetched twice."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.mirror import Mirror, local_name, read_answer, write_atomically

BUCKET = "predictions"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def result(version: str = "v1", label: str = "covid", status: str = "predicted") -> bytes:
    content: dict[str, Any] = {"status": status, "source": {"version_id": version, "etag": "e"}}
    if status == "predicted":
        content["prediction"] = {"label": label, "probability": 0.75}
    else:
        content["rejection"] = {"code": "damaged_image"}
    return json.dumps(content).encode()


def put(s3: Any, key: str, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def tree(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_every_object_lies_under_its_key(s3: Any, out: Path) -> None:
    bodies = {
        "predictions/a/肺 +%20.png.json": result(),
        "rejected/b.png.json": result(status="rejected"),
        "rejected-labelled/covid/p/x.png.json": result(status="rejected"),
        "reports/b/j/contact-sheet.png": b"png",
        "models/j/metrics.jsonl": b"{}\n",
    }
    for key, body in bodies.items():
        put(s3, key, body)
    assert sorted(Mirror(s3, BUCKET, out).refresh()) == sorted(bodies)
    assert {name: (out / name).read_bytes() for name in tree(out)} == bodies


def test_answers_are_read_from_results(s3: Any, out: Path) -> None:
    put(s3, "predictions/a.png.json", result("v7"))
    put(s3, "rejected/b.png.json", result("v8", status="rejected"))
    mirror = Mirror(s3, BUCKET, out)
    mirror.refresh()
    predicted = mirror.answers["predictions/a.png.json"]
    assert (predicted.label, predicted.probability, predicted.version_id) == ("covid", 0.75, "v7")
    assert mirror.answers["rejected/b.png.json"].code == "damaged_image"


def test_only_what_changed_is_written_again(s3: Any, out: Path) -> None:
    put(s3, "predictions/a.png.json", result())
    put(s3, "predictions/b.png.json", result())
    mirror = Mirror(s3, BUCKET, out)
    mirror.refresh()
    before = (out / "predictions/a.png.json").stat()
    put(s3, "predictions/b.png.json", result("v2"))
    assert mirror.refresh() == ["predictions/b.png.json"]
    assert (out / "predictions/a.png.json").stat() == before
    assert mirror.answers["predictions/b.png.json"].version_id == "v2"
    assert mirror.refresh() == []


def test_after_a_restart_files_that_are_right_are_left_alone(s3: Any, out: Path) -> None:
    put(s3, "predictions/a.png.json", result())
    put(s3, "predictions/b.png.json", result())
    Mirror(s3, BUCKET, out).refresh()
    before = (out / "predictions/a.png.json").stat()
    (out / "predictions/b.png.json").write_bytes(b"{ cut o")
    again = Mirror(s3, BUCKET, out)
    again.refresh()
    assert (out / "predictions/a.png.json").stat() == before
    assert (out / "predictions/b.png.json").read_bytes() == result()
    assert set(again.answers) == {"predictions/a.png.json", "predictions/b.png.json"}


def test_a_result_that_ends_the_other_way_replaces_its_twin(s3: Any, out: Path) -> None:
    put(s3, "predictions/a.png.json", result("v1"))
    mirror = Mirror(s3, BUCKET, out)
    mirror.refresh()
    put(s3, "rejected/a.png.json", result("v2", status="rejected"))
    s3.delete_object(Bucket=BUCKET, Key="predictions/a.png.json")
    mirror.refresh()
    assert tree(out) == ["rejected/a.png.json"]
    assert set(mirror.answers) == {"rejected/a.png.json"}


def test_a_stale_twin_of_an_earlier_run_goes(s3: Any, out: Path) -> None:
    for name in ("rejected/a.png.json", "rejected/other.png.json"):
        write_atomically(out / name, iter([b"{}"]))
    put(s3, "predictions/a.png.json", result())
    Mirror(s3, BUCKET, out).refresh()
    assert tree(out) == ["predictions/a.png.json", "rejected/other.png.json"]


def test_files_of_others_in_out_stay(s3: Any, out: Path) -> None:
    write_atomically(out / "predictions/notes.txt", iter([b"mine"]))
    put(s3, "predictions/a.png.json", result())
    mirror = Mirror(s3, BUCKET, out)
    mirror.refresh()
    s3.delete_object(Bucket=BUCKET, Key="predictions/a.png.json")
    mirror.refresh()
    assert tree(out) == ["predictions/notes.txt"]


def test_a_name_too_long_for_a_disk_is_cut_and_stays_unique(s3: Any, out: Path) -> None:
    names = [f"{'x' * 250}{end}.json" for end in ("a", "b")]
    for name in names:
        put(s3, f"predictions/{name}", result())
    mirror = Mirror(s3, BUCKET, out)
    mirror.refresh()
    written = [Path(name).name for name in tree(out)]
    assert len(written) == 2
    assert all(len(name.encode()) <= 255 and name.endswith(".json") for name in written)
    assert len(mirror.answers) == 2


def test_maps_come_beside_their_json_and_go_with_it(s3: Any, out: Path) -> None:
    mirror = Mirror(s3, BUCKET, out)
    put(s3, "predictions/a.png.json", result("v1"))
    put(s3, "predictions/a.png.map.png", b"\x89PNG a map")
    mirror.refresh()
    assert (out / "predictions/a.png.map.png").read_bytes() == b"\x89PNG a map"
    assert (list(mirror.answers), mirror.problems) == (["predictions/a.png.json"], {})
    s3.delete_object(Bucket=BUCKET, Key="predictions/a.png.map.png")
    mirror.refresh()
    assert tree(out) == ["predictions/a.png.json"]


@pytest.mark.parametrize("folder", ["predictions", "rejected"])
def test_a_map_of_an_earlier_run_does_not_stay_beside_a_json_that_has_none(
    s3: Any, out: Path, folder: str
) -> None:
    write_atomically(out / "predictions/a.png.map.png", iter([b"\x89PNG of long ago"]))
    write_atomically(out / "predictions/b.png.map.png", iter([b"of another"]))
    put(s3, f"{folder}/a.png.json", result())
    Mirror(s3, BUCKET, out).refresh()
    assert tree(out) == sorted([f"{folder}/a.png.json", "predictions/b.png.map.png"])


@pytest.mark.parametrize("key", ["predictions/../../x", "/etc/x", "a//b", "a/./b", "a/", "a\0b"])
def test_a_key_that_would_leave_out_has_no_name_there(key: str) -> None:
    with pytest.raises(ValueError, match="no path below a folder"):
        local_name(key)


def test_one_bad_key_does_not_keep_the_others(s3: Any, out: Path) -> None:
    put(s3, "predictions/../../../evil.json", result())
    put(s3, "predictions/good.json", result())
    mirror = Mirror(s3, BUCKET, out)
    assert mirror.refresh() == ["predictions/good.json"]
    assert "no path below a folder" in mirror.problems["predictions/../../../evil.json"]
    assert not (out.parent / "evil.json").exists()


def test_a_file_where_a_folder_must_be_is_a_problem_that_can_be_mended(s3: Any, out: Path) -> None:
    put(s3, "predictions/a.json", result())
    put(s3, "predictions/a.json/b.json", result())
    mirror = Mirror(s3, BUCKET, out)
    assert mirror.refresh() == ["predictions/a.json"]
    assert list(mirror.problems) == ["predictions/a.json/b.json"]
    s3.delete_object(Bucket=BUCKET, Key="predictions/a.json")
    assert mirror.refresh() == ["predictions/a.json/b.json"]
    assert mirror.problems == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_a_problem(s3: Any, out: Path) -> None:
    (out / "predictions").mkdir(parents=True, mode=0o500)
    put(s3, "predictions/a.json", result())
    mirror = Mirror(s3, BUCKET, out)
    assert mirror.refresh() == []
    assert "cannot be written to OUT" in mirror.problems["predictions/a.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(ConnectionError):
        write_atomically(path, broken())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"status": "predicted"}'])
def test_what_is_no_result_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_answer(body)
