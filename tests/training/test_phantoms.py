"""Phantoms: repeatable, said to be synthetic, and not told apart by brightness."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.datasets import phantoms
from training.datasets.phantom_patient import make_patient, render_slice

SIZE = 64


def drawn(label: str, patients: int = 2, slices: int = 2, seed: int = 7) -> list[phantoms.Phantom]:
    return list(phantoms.phantoms(label, patients=patients, slices=slices, seed=seed, size=SIZE))


def test_the_same_seed_draws_the_same_files() -> None:
    first, second = (list(map(phantoms.encode, drawn("covid"))) for _ in range(2))
    assert first == second
    assert len(set(first)) == 4


def test_another_seed_draws_other_patients() -> None:
    assert not np.array_equal(drawn("covid", seed=7)[0].pixels, drawn("covid", seed=8)[0].pixels)


def test_asking_for_more_patients_keeps_those_already_drawn() -> None:
    few, many = drawn("non_covid", patients=1), drawn("non_covid", patients=3)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(few, many[:2], strict=True))


def test_the_tree_is_class_patient_slice(tmp_path: Path) -> None:
    written = phantoms.write_tree(tmp_path, patients=2, slices=3, seed=1, size=SIZE)
    assert len(written) == 12
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert found[0] == "covid/phantom-1-covid-01/slice-001.png"
    assert found[-1] == "non_covid/phantom-1-non_covid-02/slice-003.png"


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_each_file_says_that_it_is_synthetic(image_format: str) -> None:
    body = phantoms.encode(drawn("covid", 1, 1)[0], image_format)
    with Image.open(BytesIO(body)) as image:
        assert image.size == (SIZE, SIZE)
        assert image.mode == "L"
        said = image.info["Description" if image_format == "png" else "comment"]
    assert "synthetic phantom" in str(said).lower()


def test_lungs_bones_and_air_have_their_place_on_the_hounsfield_scale() -> None:
    rng = np.random.default_rng(3)
    patient = make_patient(rng, ill=False)
    image = render_slice(patient, 0.5, rng, 128)
    assert image.shape == (128, 128)
    assert np.median(image[4:20, 4:20]) == pytest.approx(-1000, abs=30)
    right_lung = np.median(image[44:84, 28:44])
    assert -950 < right_lung < -650
    spine = np.median(image[86:90, 62:66])
    assert spine > 100


def test_only_the_ill_have_lesions_and_each_of_their_slices_meets_one() -> None:
    assert make_patient(np.random.default_rng(5), ill=False).lesions == ()
    patient = make_patient(np.random.default_rng(5), ill=True)
    assert len(patient.lesions) >= 2
    for position in (0.1, 0.5, 0.95):
        ill, well = (
            render_slice(someone, position, np.random.default_rng(1), SIZE)
            for someone in (patient, replace(patient, lesions=()))
        )
        assert (ill - well > 100).sum() > 15


def test_the_window_maps_its_ends_and_clips() -> None:
    hounsfield = np.array([[-3000, -1350, -600, 150, 3000]], dtype=np.float32)
    assert phantoms.window(hounsfield).tolist() == [[0, 0, 128, 255, 255]]


def test_mean_brightness_does_not_give_the_class_away() -> None:
    ill, well = (means(drawn(label, patients=12, slices=2, seed=3)) for label in phantoms.CLASSES)
    ranked = float((ill[:, None] > well[None, :]).mean())
    assert 0.25 < ranked < 0.75  # area under the curve of "brighter means ill"


def means(slices: list[phantoms.Phantom]) -> NDArray[np.float64]:
    return np.array([part.pixels.mean() for part in slices])


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--patients", "0", "at least 1"),
        ("--patients", "-3", "at least 1"),
        ("--slices", "two", "at least 1"),
        ("--size", "16", "outside 32 to 2048"),
        ("--size", "4096", "outside 32 to 2048"),
        ("--format", "dicom", "invalid choice"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(
    option: str, value: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        phantoms.main([str(tmp_path / "out"), option, value])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_writes_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(tmp_path), "--patients", "1", "--slices", "1", "--size", "32", "--format", "jpeg"]
    assert phantoms.main(given) == 0
    assert "2 synthetic phantom slices" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.jpg"))) == 2
