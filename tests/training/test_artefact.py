import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.algorithm.architectures import ARCHITECTURE
from training.algorithm.artefact import (
    AS_LEARNED,
    QUANTISED,
    ModelDescription,
    add_openvino,
    add_typicality,
    amend_description,
    find_openvino,
    load_model,
    load_typicality,
    save_model,
)
from training.algorithm.failure import ArtefactError
from training.algorithm.images import Scaling

DESCRIPTION = ModelDescription(
    architecture=ARCHITECTURE,
    num_layers=18,
    classes=("non_covid", "covid"),
    image_shape=(3, 32, 32),
    scaling=Scaling(0.1, 0.5),
    normaliser="ct-1",
    data_digest="abc",
    training_job="job",
    start="random",
    metrics={"validation": {"accuracy": 0.5}},
    hyperparameters={"epochs": "1"},
    created_at="2026-11-24T00:00:00+00:00",
)
STATE = {"fc.weight": torch.arange(4.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", DESCRIPTION, STATE)
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def test_what_is_saved_is_loaded(folder: Path) -> None:
    description, state = load_model(folder)
    assert description == DESCRIPTION
    assert torch.equal(state["fc.weight"], STATE["fc.weight"])
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.pt"]


CALIBRATION = {"temperature": 1.5, "bias": [0.25, -0.25], "fitted_on": 9}


def test_what_is_known_later_is_added_and_the_rest_stays(folder: Path) -> None:
    amend_description(folder, metrics={"a": 1}, calibration=CALIBRATION)
    description, state = load_model(folder)
    assert description == replace(DESCRIPTION, metrics={"a": 1}, calibration=CALIBRATION)
    assert torch.equal(state["fc.weight"], STATE["fc.weight"])
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.pt"]


def test_nothing_is_added_to_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no readable model\.json"):
        amend_description(tmp_path, metrics={})
    assert not list(tmp_path.iterdir())


def test_a_model_from_before_calibrations_still_loads(folder: Path) -> None:
    edit(folder, calibration=...)
    assert load_model(folder)[0] == DESCRIPTION


@pytest.mark.parametrize(
    "calibration",
    [
        {},
        {"temperature": 1.0},
        {"temperature": 0.0, "bias": [0.0, 0.0]},
        {"temperature": -1.0, "bias": [0.0, 0.0]},
        {"temperature": float("nan"), "bias": [0.0, 0.0]},
        {"temperature": 1.0, "bias": [0.0]},
        {"temperature": 1.0, "bias": [0.0, "many"]},
        {"temperature": 1.0, "bias": None},
        [1.0],
    ],
    ids=str,
)
def test_a_calibration_that_does_not_fit_is_refused(folder: Path, calibration: Any) -> None:
    edit(folder, calibration=calibration)
    with pytest.raises(ArtefactError, match="lacks a field or has a strange one"):
        load_model(folder)


def test_saving_again_replaces_both(folder: Path) -> None:
    save_model(folder, DESCRIPTION, {"fc.weight": torch.zeros(4)})
    assert not load_model(folder)[1]["fc.weight"].any()


def test_a_save_that_fails_leaves_the_model_before_it(folder: Path) -> None:
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_model(folder, DESCRIPTION, {"fc.weight": lambda: None})  # type: ignore[dict-item]
    assert load_model(folder)[0] == DESCRIPTION
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.pt"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 2}, "schema_version 1"),
        ({"schema_version": ...}, "schema_version 1"),
        ({"architecture": "vit"}, "unknown network"),
        ({"num_layers": 20}, "unknown network"),
        ({"classes": ...}, "lacks a field"),
        ({"scaling": {"mean": "x"}}, "lacks a field"),
        ({"surprise": 1}, "lacks a field"),
        ({"hyperparameters": {"head_stages": "all"}}, "lacks a field"),
        ({"hyperparameters": {"head_stages": "0"}}, "head_stages below 1"),
        ({"kind": "ensemble"}, "of kind 'ensemble'"),
        ({"weights": {"file": "model.pt", "sha256": "00"}}, "do not belong together"),
    ],
)
def test_a_description_that_is_not_known_is_refused(
    folder: Path, changes: dict[str, Any], said: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(ArtefactError, match=said):
        load_model(folder)


def test_a_model_that_says_no_kind_is_a_classifier(folder: Path) -> None:
    """As those from before there were backbones."""
    edit(folder, kind=...)
    assert load_model(folder)[0] == DESCRIPTION


@pytest.mark.parametrize("name", ["model.pt", "model.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=name):
        load_model(folder)


def test_altered_weights_are_refused(folder: Path) -> None:
    with (folder / "model.pt").open("r+b") as file:
        file.seek(200)
        file.write(b"x")
    with pytest.raises(ArtefactError, match="do not belong together"):
        load_model(folder)


def test_weights_that_would_run_code_are_refused(folder: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    save_model(folder, DESCRIPTION, {"fc.weight": Payload()})  # type: ignore[dict-item]
    with pytest.raises(ArtefactError, match="weights only"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


SUMMARY = {"held_out": np.array([-1.0, 0.0, 2.0])}


@pytest.fixture
def knowing(folder: Path) -> Path:
    """A model that has a typicality as well."""
    add_typicality(folder, SUMMARY)
    return folder


def test_a_typicality_is_loaded_as_it_was_and_the_model_stays_as_it_is(knowing: Path) -> None:
    found = load_typicality(knowing)
    assert found is not None
    assert np.array_equal(found["held_out"], SUMMARY["held_out"])
    description, state = load_model(knowing)
    assert description == DESCRIPTION
    assert torch.equal(state["fc.weight"], STATE["fc.weight"])
    assert sorted(path.name for path in knowing.iterdir()) == [
        "model.json",
        "model.pt",
        "typicality.npz",
    ]


def test_a_model_without_a_typicality_has_none(folder: Path) -> None:
    assert load_typicality(folder) is None


def test_saving_another_model_drops_the_typicality_of_the_one_before(knowing: Path) -> None:
    save_model(knowing, DESCRIPTION, STATE)
    assert load_typicality(knowing) is None
    assert sorted(path.name for path in knowing.iterdir()) == ["model.json", "model.pt"]


def test_a_typicality_that_was_half_added_is_none(folder: Path) -> None:
    (folder / "typicality.npz").write_bytes(b"half")
    assert load_typicality(folder) is None


def test_a_typicality_can_be_added_to_a_model_only(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"no readable model\.json"):
        add_typicality(tmp_path, SUMMARY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"other", b""])
def test_an_altered_typicality_is_refused(knowing: Path, content: bytes) -> None:
    (knowing / "typicality.npz").write_bytes(content)
    with pytest.raises(ArtefactError, match="do not belong together"):
        load_typicality(knowing)


def test_a_typicality_that_is_named_and_absent_is_refused(knowing: Path) -> None:
    (knowing / "typicality.npz").unlink()
    with pytest.raises(ArtefactError, match=r"no readable typicality\.npz"):
        load_typicality(knowing)


@pytest.mark.parametrize("named", ["typicality.npz", None, 1, {}, {"sha256": None}])
def test_a_typicality_without_its_digest_is_refused(knowing: Path, named: Any) -> None:
    edit(knowing, typicality=named)
    with pytest.raises(ArtefactError, match=r"do not belong together|lacks a field"):
        load_typicality(knowing)


def test_amending_a_description_keeps_the_typicality(knowing: Path) -> None:
    amend_description(knowing, metrics={"a": 1})
    assert load_typicality(knowing) is not None


def test_a_typicality_that_would_run_code_is_refused(folder: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (tmp_path / "ran",))

    add_typicality(folder, {"held_out": Payload()})  # type: ignore[dict-item]
    with pytest.raises(ArtefactError, match="arrays only"):
        load_typicality(folder)
    assert not (tmp_path / "ran").exists()


def test_a_typicality_from_before_it_was_kept_as_arrays_still_loads(folder: Path) -> None:
    torch.save({"held_out": torch.tensor([1.0, 2.0])}, folder / "typicality.pt")
    digest = hashlib.sha256((folder / "typicality.pt").read_bytes()).hexdigest()
    edit(folder, typicality={"file": "typicality.pt", "sha256": digest})
    found = load_typicality(folder)
    assert found is not None
    assert found["held_out"].tolist() == [1, 2]


SERVING = {"precision": "int8", "kept": ["fp32", "int8"]}


@pytest.fixture
def exported(folder: Path, tmp_path: Path) -> Path:
    """A model that has the network as OpenVINO's files as well, once."""
    files = {f"openvino{end}": tmp_path / f"made{end}" for end in (".xml", ".bin")}
    for path in files.values():
        path.write_bytes(path.suffix.encode())
    add_openvino(folder, files, SERVING)
    return folder


def test_an_exported_network_is_found_and_the_rest_stays(exported: Path) -> None:
    path = find_openvino(exported, AS_LEARNED)
    assert (path.name, path.read_bytes()) == ("openvino.xml", b".xml")
    assert path.with_suffix(".bin").read_bytes() == b".bin"
    assert load_model(exported)[0] == replace(DESCRIPTION, serving=SERVING)


@pytest.mark.parametrize("name", ["openvino.xml", "openvino.bin"])
@pytest.mark.parametrize("content", [b"other", None])
def test_an_exported_network_that_is_altered_or_absent_is_refused(
    exported: Path, name: str, content: bytes | None
) -> None:
    if content is None:
        (exported / name).unlink()
    else:
        (exported / name).write_bytes(content)
    with pytest.raises(ArtefactError, match=name):
        find_openvino(exported, AS_LEARNED)


def test_a_network_that_was_not_exported_is_refused(exported: Path) -> None:
    with pytest.raises(ArtefactError, match=r"names no openvino-int8\.bin"):
        find_openvino(exported, QUANTISED)


def test_saving_another_model_drops_the_exported_one(exported: Path) -> None:
    save_model(exported, DESCRIPTION, STATE)
    assert sorted(path.name for path in exported.iterdir()) == ["model.json", "model.pt"]
    assert load_model(exported)[0].serving is None


@pytest.mark.parametrize(
    "serving",
    [
        {},
        {"precision": "fp32"},
        {"precision": "fp16", "kept": []},
        {"precision": "int8", "kept": 1},
        ["int8"],
        {"precision": "int8", "kept": ["int4"]},
    ],
    ids=str,
)
def test_a_way_to_serve_that_is_not_known_is_refused(exported: Path, serving: Any) -> None:
    edit(exported, serving=serving)
    with pytest.raises(ArtefactError, match="lacks a field or has a strange one"):
        load_model(exported)
