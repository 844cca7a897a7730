"""MosMedData: which studies and slices are taken, how they are shown, what is refused."""

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.training.datasets.builders import (
    LPS,
    chest,
    groups,
    nib,
    run,
    save_volume,
    skipped,
    tree,
    volume,
)
from training.datasets.lungs import lung_share
from training.datasets.volumes import open_volume

THORAX = volume(chest(lungs=False), chest(marker=True), chest(), chest(), chest(lungs=False))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "COVID19_1110"
    for number, grade in enumerate(("CT-0", "CT-1", "CT-2", "CT-3", "CT-4"), start=1):
        save_volume(THORAX, root / "studies" / grade / f"study_{number:04d}.nii.gz")
    mask = np.zeros(THORAX.shape, np.uint8)
    save_volume(mask, root / "masks" / "study_0002_mask.nii.gz")
    (root / "dataset_registry.xlsx").touch()
    return root


def add(source: Path, voxels: NDArray[Any], affine: NDArray[Any] | None = LPS) -> str:
    """Another study of CT-1; its name in the report."""
    save_volume(voxels, source / "studies" / "CT-1" / "study_0300.nii.gz", affine)
    return "studies/CT-1/study_0300.nii.gz"


def test_a_study_is_a_group_and_only_slices_with_lungs_are_taken(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("import-mosmed", source, out) == 0
    assert groups(out, "non_covid") == ["mosmed-study_0001"]
    assert groups(out, "covid") == [f"mosmed-study_000{number}" for number in (2, 3, 4, 5)]
    slices = sorted(path.name for path in (out / "covid" / "mosmed-study_0002").iterdir())
    assert slices == ["slice-0002.png", "slice-0003.png", "slice-0004.png"]
    assert skipped(out) == {
        "dataset_registry.xlsx": "not_a_study",
        "masks/study_0002_mask.nii.gz": "outside_grades",
    }


def test_grades_that_are_not_asked_for_are_neither_ill_nor_well(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("import-mosmed", source, out, "--positive", "CT-3", "CT-2") == 0
    assert groups(out, "covid") == ["mosmed-study_0003", "mosmed-study_0004"]
    assert groups(out, "non_covid") == ["mosmed-study_0001"]
    left_out = skipped(out)
    assert left_out["studies/CT-1/study_0002.nii.gz"] == "grade_left_out"
    assert left_out["studies/CT-4/study_0005.nii.gz"] == "grade_left_out"


def test_slices_are_8_bit_in_the_lung_window(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-mosmed", source, out)
    with Image.open(out / "covid" / "mosmed-study_0002" / "slice-0003.png") as image:
        assert image.mode == "L"
        levels = set(np.asarray(image).ravel().tolist())
    # -1000, -850 and 40 HU at level -600, width 1500: 0 is -1350 HU, 255 is 150 HU
    assert levels == {round((hu + 1350) * 255 / 1500) for hu in (-1000, -850, 40)}


def test_every_nth_thins_the_lung_slices(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-mosmed", source, out, "--every-nth", "2")
    slices = sorted(path.name for path in (out / "covid" / "mosmed-study_0002").iterdir())
    assert slices == ["slice-0002.png", "slice-0004.png"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_slices_are_shown_alike_however_the_voxels_are_stored(
    order: tuple[int, ...], signs: tuple[int, ...], tmp_path: Path
) -> None:
    """All 48 ways to lay three axes into an array."""
    stored = THORAX.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    affine = np.eye(4)
    for axis, (display, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, axis] = LPS[:3, display] * sign
    path = save_volume(stored, tmp_path / "study.nii.gz", affine)
    shown = list(open_volume(path).slices())
    assert len(shown) == 5
    assert np.array_equal(shown[1], chest(marker=True))
    assert np.array_equal(shown[4], chest(lungs=False))


def test_scaled_voxels_are_read_as_hounsfield_units(tmp_path: Path) -> None:
    image = nib.nifti1.Nifti1Image((THORAX + 1024).astype(np.uint16), LPS)
    image.header.set_slope_inter(1, -1024)
    path = tmp_path / "scaled.nii"
    image.to_filename(path)
    assert np.array_equal(next(open_volume(path).slices()), chest(lungs=False))


def test_the_share_of_lung_is_that_of_the_bodys_cross_section() -> None:
    inside = 2 * 0.3 * 0.45 / (0.9 * 0.7)
    assert lung_share(chest(side=256).astype(np.float32)) == pytest.approx(inside, abs=0.01)


def test_air_around_the_body_is_no_lung() -> None:
    beside = chest(lungs=False, side=128).astype(np.float32)
    beside[-8:-4] = 40  # the table: air between it and the body touches neither border
    beside[100:, :4] = beside[100:, -4:] = 40
    assert lung_share(beside) == 0
    assert lung_share(np.full((64, 64), -1000, np.float32)) == 0


def test_volumes_that_cannot_be_used_are_skipped_with_the_reason(
    source: Path, tmp_path: Path
) -> None:
    whole = (source / "studies" / "CT-1" / "study_0002.nii.gz").read_bytes()
    folder = source / "studies" / "CT-1"
    (folder / "broken.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "text.nii.gz").write_text("no volume")
    (folder / "words.nii").write_text("no volume")
    (folder / "empty.nii").touch()
    not_finite = THORAX.astype(np.float32)
    not_finite[3, 3, 2] = np.nan
    cases: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {
        "series": (np.stack([THORAX, THORAX], axis=3), LPS),
        "flat": (THORAX[:, :, 0], LPS),
        "windowed": (np.clip((THORAX + 1350) // 6, 0, 255).astype(np.uint8), LPS),
        "nan": (not_finite, LPS),
        "unknown": (THORAX, None),
        "abdomen": (volume(*[chest(lungs=False)] * 3), LPS),
        "small": (THORAX[:16, :16], LPS),
    }
    for name, (voxels, affine) in cases.items():
        save_volume(voxels, folder / f"{name}.nii.gz", affine)
    singular = nib.nifti1.Nifti1Image(THORAX, None)
    singular.header["sform_code"] = 1
    singular.header["srow_y"][1] = singular.header["srow_z"][2] = 1
    (folder / "singular.nii").write_bytes(singular.header.binaryblock + bytes(4) + THORAX.tobytes())
    out = tmp_path / "out"
    assert run("import-mosmed", source, out) == 0
    reasons = {Path(name).name.split(".")[0]: why for name, why in skipped(out).items()}
    assert reasons == {
        "abdomen": "no_lungs",
        "broken": "broken_volume",
        "dataset_registry": "not_a_study",
        "empty": "broken_volume",
        "flat": "not_3d",
        "nan": "broken_volume",
        "series": "not_3d",
        "singular": "no_orientation",
        "small": "too_small",
        "study_0002_mask": "outside_grades",
        "text": "broken_volume",
        "unknown": "no_orientation",
        "windowed": "not_hounsfield",
        "words": "broken_volume",
    }
    assert len(groups(out, "covid")) == 4
    assert not (out / ".import").exists()


def test_a_second_run_does_no_study_again_and_changes_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    add(source, THORAX[:, :, 0])
    run("import-mosmed", source, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert run("import-mosmed", source, out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert "6 sources were done by an earlier run" in capsys.readouterr().out


def test_a_study_that_a_kill_left_half_written_is_done_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-mosmed", source, out)
    before = tree(out)
    place, staged = out / "covid" / "mosmed-study_0005", out / ".import" / "mosmed-study_0005"
    staged.parent.mkdir()
    place.rename(staged)
    (staged / "slice-0003.png").unlink()
    (staged / "slice-0099.png").touch()
    journal = out / ".import.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert run("import-mosmed", source, out) == 0
    assert tree(out) == before
    assert not staged.exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--positive", "CT-0"), "invalid choice"),
        (("--positive",), "expected at least one argument"),
        (("--every-nth", "0"), "no whole number from 1"),
        (("--lung-share", "1"), "no number from 0 to below 1"),
        (("--lung-share", "some"), "no number from 0 to below 1"),
    ],
)
def test_bad_options_are_refused_with_the_reason(
    options: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("import-mosmed", tmp_path, tmp_path / "out", *options)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_tree_without_the_grades_is_refused_and_told_what_was_expected(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("import-mosmed", source / "masks", out) == 2
    assert "expected …/studies/CT-0 to CT-4/study_0001.nii.gz" in capsys.readouterr().err
    assert run("import-mosmed", source / "studies" / "CT-1", out) == 2
    assert not out.exists()


def test_two_files_of_one_study_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_volume(THORAX, source / "studies" / "CT-3" / "study_0001.nii")
    assert run("import-mosmed", source, tmp_path / "out") == 2
    assert "are two files of one study" in capsys.readouterr().err
