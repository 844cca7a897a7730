import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.builders import Trained
from training.algorithm.artefact import BACKBONE, load_model, save_model
from training.algorithm.failure import ArtefactError, ChannelConfigError, WeightsError
from training.algorithm.hyperparameters import Hyperparameters, read_hyperparameters
from training.algorithm.model import build_resnet
from training.algorithm.starting_model import load_starting_model

CHOSEN = read_hyperparameters(
    {
        "num_classes": "2",
        "num_training_samples": "12",
        "serving_precision": "none",
        "num_layers": "18",
        "image_shape": "3,32,32",
    }
)
CLASSES = ("non_covid", "covid")


def network(chosen: Hyperparameters = CHOSEN) -> Any:
    return build_resnet(chosen.num_layers, chosen.image_shape[0], chosen.num_classes)


def packed(trained: Trained, folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for path in trained.job.layout.model.iterdir():
            tar.add(path, path.name)
    return folder


def test_the_weights_of_an_unpacked_model_are_loaded(trained: Trained) -> None:
    resnet, folder = network(), trained.job.layout.model
    start = load_starting_model(resnet, folder, CHOSEN, CLASSES)
    _, state = load_model(folder)
    assert all(torch.equal(value, state[name]) for name, value in resnet.state_dict().items())
    assert start.startswith("model of training job tomodrop-train-1, created at 20")


def test_the_weights_of_an_archive_are_loaded(trained: Trained, tmp_path: Path) -> None:
    resnet = network()
    load_starting_model(resnet, packed(trained, tmp_path), CHOSEN, CLASSES)
    _, state = load_model(trained.job.layout.model)
    assert torch.equal(resnet.fc.weight, state["fc.weight"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


def test_other_names_of_the_classes_are_said(trained: Trained, warnings: list[str]) -> None:
    load_starting_model(network(), trained.job.layout.model, CHOSEN, ("a", "b"))
    assert "('non_covid', 'covid'), the job has ('a', 'b')" in warnings[0]


@pytest.fixture
def backbone(trained: Trained, tmp_path: Path) -> Path:
    """The trained model without its head, of no classes and other sides."""
    description, state = load_model(trained.job.layout.model)
    headless = dataclasses.replace(
        description,
        kind=BACKBONE,
        classes=(),
        image_shape=(3, 224, 224),
        start="ct weights of old",
        calibration=None,
    )
    kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
    save_model(tmp_path / "backbone", headless, kept)
    return tmp_path / "backbone"


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_backbone_fits_any_classes_and_sides_and_leaves_the_head(
    backbone: Path, pretrained: bool
) -> None:
    chosen = dataclasses.replace(
        CHOSEN, num_classes=5, image_shape=(3, 96, 64), use_pretrained_model=pretrained
    )
    resnet = network(chosen)
    head = resnet.fc.weight.detach().clone()
    start = load_starting_model(resnet, backbone, chosen, ("a", "b", "c", "d", "e"))
    _, state = load_model(backbone)
    assert all(torch.equal(resnet.state_dict()[name], value) for name, value in state.items())
    assert torch.equal(resnet.fc.weight, head)
    assert start == "ct weights of old"


def test_a_backbone_takes_grey_images_of_one_channel(backbone: Path) -> None:
    chosen = dataclasses.replace(CHOSEN, image_shape=(1, 32, 32))
    resnet = network(chosen)
    load_starting_model(resnet, backbone, chosen, CLASSES)
    _, state = load_model(backbone)
    assert torch.equal(resnet.conv1.weight, state["conv1.weight"].sum(1, keepdim=True))


def test_a_backbone_of_another_depth_is_refused_with_both_values(backbone: Path) -> None:
    chosen = dataclasses.replace(CHOSEN, num_layers=34)
    with pytest.raises(ArtefactError, match=r"num_layers=18 of the model.*num_layers=34"):
        load_starting_model(network(chosen), backbone, chosen, CLASSES)


def test_a_backbone_that_lacks_a_layer_is_refused(backbone: Path) -> None:
    description, state = load_model(backbone)
    del state["layer4.0.conv1.weight"]
    save_model(backbone, description, state)
    with pytest.raises(WeightsError, match="1 of its own are not among them"):
        load_starting_model(network(), backbone, CHOSEN, CLASSES)


def test_ct_weights_and_a_model_to_go_on_from_exclude_each_other(trained: Trained) -> None:
    chosen = dataclasses.replace(CHOSEN, use_pretrained_model=True)
    with pytest.raises(ChannelConfigError, match="set use_pretrained_model=0 or leave"):
        load_starting_model(network(), trained.job.layout.model, chosen, CLASSES)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_layers": 34}, ["num_layers=18 of the model", "the job's num_layers=34"]),
        ({"num_classes": 3}, ["num_classes=2 of the model", "the job's num_classes=3"]),
        ({"image_shape": (3, 64, 32)}, ["image_shape=3,32,32 of", "job's image_shape=3,64,32"]),
        ({"head_stages": 2}, ["head_stages=1 of the model", "the job's head_stages=2"]),
        ({"num_layers": 50, "num_classes": 4}, ["num_layers=50", "num_classes=4"]),
    ],
)
def test_a_model_of_another_kind_is_refused_with_both_values(
    trained: Trained, changed: dict[str, object], said: list[str]
) -> None:
    chosen = dataclasses.replace(CHOSEN, **changed)  # type: ignore[arg-type]  # parametrised
    with pytest.raises(ArtefactError) as caught:
        load_starting_model(network(chosen), trained.job.layout.model, chosen, CLASSES)
    assert all(text in str(caught.value) for text in said)


def archive(folder: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return folder


def member(name: str, *, link: str | None = None) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    if link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, link
    return info


@pytest.mark.parametrize(
    "hostile",
    [
        member("../outside.txt"),
        member("a/../../outside.txt"),
        member("link", link="/etc/passwd"),
        member("link", link="../../outside"),
    ],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    tmp_path: Path, hostile: tarfile.TarInfo
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        load_starting_model(network(), archive(folder, hostile), CHOSEN, CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_archive_that_is_cut_short_is_refused(trained: Trained, tmp_path: Path) -> None:
    path = packed(trained, tmp_path) / "model.tar.gz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ArtefactError, match="cannot be unpacked"):
        load_starting_model(network(), tmp_path, CHOSEN, CLASSES)


def test_the_built_ins_own_artefact_is_refused_by_name(tmp_path: Path) -> None:
    names = ("image-classification-0003.params", "image-classification-symbol.json")
    with pytest.raises(ArtefactError, match="MXNet model of the built-in"):
        load_starting_model(network(), archive(tmp_path, *map(member, names)), CHOSEN, CLASSES)


def test_an_empty_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"holds no model\.json"):
        load_starting_model(network(), tmp_path / "absent", CHOSEN, CLASSES)
