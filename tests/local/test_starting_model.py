"""An archive to start from: refused before anything runs, put once where trainings look."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.options import Options, Refused, check_options, template_parameters
from local.starting_model import put_starting_model, starting_model_faults, starting_model_key

BUCKET = "work"


def archive(path: Path, *names: str, content: bytes = b"{}") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return archive(tmp_path / "model.tar.gz", "weights.safetensors", "model.json")


@pytest.fixture
def options(tmp_path: Path, model: Path) -> Options:
    for name in ("inbox/a.png", *(f"labelled/{c}/{g}/1.png" for c in "ab" for g in "pq")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return Options(
        tmp_path / "inbox", tmp_path / "out", tmp_path / "labelled", starting_model=model
    )


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


def test_the_stack_is_told_where_the_archive_will_be(options: Options, model: Path) -> None:
    check_options(options)
    key = template_parameters(options)["StartingModelKey"]
    assert key == starting_model_key(model)
    assert key.startswith("training/weights/")
    assert key.endswith("/model.tar.gz")


def test_without_an_archive_nothing_is_set(options: Options) -> None:
    without = Options(options.inbox, options.out, options.labelled)
    assert "StartingModelKey" not in template_parameters(without)


def test_other_bytes_have_another_key(model: Path, tmp_path: Path) -> None:
    other = archive(tmp_path / "other.tar.gz", "model.json", content=b"[]")
    assert starting_model_key(other) != starting_model_key(model)


def test_it_is_put_once(s3: Any, model: Path) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    put_starting_model(s3, BUCKET, model)
    put_starting_model(s3, BUCKET, model)
    [version] = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert version["Key"] == starting_model_key(model)
    stored = s3.get_object(Bucket=BUCKET, Key=version["Key"])["Body"].read()
    assert stored == model.read_bytes()


def test_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    [fault] = starting_model_faults(tmp_path / "gone.tar.gz")
    assert "is not a file" in fault


@pytest.mark.parametrize("content", [b"", b"no tar", b"\x1f\x8b\x08\x00"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)
    [fault] = starting_model_faults(tmp_path / "model.tar.gz")
    assert "is not a whole gzipped tar" in fault


def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar.gz", "model.json", content=bytes(range(256)) * 400)
    (tmp_path / "model.tar.gz").write_bytes(whole.read_bytes()[:-200])
    [fault] = starting_model_faults(tmp_path / "model.tar.gz")
    assert "is not a whole gzipped tar" in fault


def test_another_archive_is_refused(tmp_path: Path) -> None:
    [fault] = starting_model_faults(archive(tmp_path / "data.tar.gz", "scan.png"))
    assert "has no model.json" in fault


def test_two_models_are_one_too_many(options: Options) -> None:
    twice = Options(
        options.inbox,
        options.out,
        options.labelled,
        parameters={"StartingModelKey": "training/x/model.tar.gz"},
        starting_model=options.starting_model,
    )
    with pytest.raises(Refused, match="name a model each"):
        check_options(twice)
