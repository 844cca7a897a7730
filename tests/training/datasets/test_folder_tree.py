"""A class-folder tree: what is taken, how it is grouped, and what is refused and why."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.builders import groups, picture, report, run, save, skipped, tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes, two patients each, two pictures of each patient."""
    root, seed = tmp_path / "set", 0
    for label in ("ill", "well"):
        for patient in ("p1", "p2"):
            for name in ("a", "b"):
                save(picture(seed), root / label / f"{label}-{patient}" / f"{name}.png")
                seed += 1
    return root


def test_class_parent_and_name_make_the_place(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("import-folder", source, out) == 0
    assert groups(out, "ill") == ["ill-p1", "ill-p2"]
    assert groups(out, "well") == ["well-p1", "well-p2"]
    names = list(tree(out))
    assert len(names) == 8
    assert re.fullmatch(r"ill/ill-p1/a-[0-9a-f]{8}\.png", names[0])


def test_pixels_are_the_sources_as_8_bit_grey(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out)
    written = next((out / "ill" / "ill-p1").glob("a-*.png"))
    with Image.open(written) as got:
        assert got.mode == "L"
        assert np.array_equal(np.asarray(got), np.asarray(picture(0)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "1"])
def test_every_8_bit_mode_becomes_grey(mode: str, source: Path, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    save(picture(50).convert(mode), source / "ill" / "ill-p1" / f"other.{suffix}")
    out = tmp_path / "out"
    run("import-folder", source, out)
    with Image.open(next((out / "ill" / "ill-p1").glob("other-*.png"))) as got:
        assert got.mode == "L"
        if mode != "1":
            near = np.asarray(got).astype(int) - np.asarray(picture(50))
            assert np.abs(near).max() <= (60 if mode == "P" else 2)


def test_alpha_leaves_no_trace(source: Path, tmp_path: Path) -> None:
    veiled = picture(51).convert("RGBA")
    veiled.putalpha(picture(52))
    save(veiled, source / "ill" / "ill-p1" / "veiled.png")
    out = tmp_path / "out"
    run("import-folder", source, out)
    with Image.open(next((out / "ill" / "ill-p1").glob("veiled-*.png"))) as got:
        assert np.array_equal(np.asarray(got), np.asarray(picture(51)))


def test_metadata_of_the_source_stays_behind(source: Path, tmp_path: Path) -> None:
    folder = source / "ill" / "ill-p1"
    save(picture(53), folder / "told.jpg", comment=b"Jane Doe", icc_profile=b"Jane Doe")
    save(picture(54), folder / "told.png", icc_profile=b"Jane Doe")
    out = tmp_path / "out"
    run("import-folder", source, out)
    assert len(tree(out)) == 10
    assert not any(b"iCCP" in content or b"Jane" in content for content in tree(out).values())


def test_pictures_straight_in_the_class_folder_are_their_own_groups(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    for seed in range(4):
        save(picture(seed), source / ("ill", "well")[seed % 2] / f"{seed}.png")
    assert run("import-folder", source, out) == 0
    assert len(groups(out, "ill")) == len(groups(out, "well")) == 2


def test_one_name_in_two_classes_is_one_group_unless_told_otherwise(tmp_path: Path) -> None:
    source = tmp_path / "set"
    save(picture(1), source / "ill" / "p1" / "a.png")
    save(picture(2), source / "well" / "p1" / "b.png")
    run("import-folder", source, tmp_path / "shared")
    run("import-folder", source, tmp_path / "apart", "--per-class")
    assert groups(tmp_path / "shared", "ill") == groups(tmp_path / "shared", "well") == ["p1"]
    assert groups(tmp_path / "apart", "ill") != groups(tmp_path / "apart", "well")


def test_a_pattern_finds_the_group_in_the_path(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    names = ("pat007_1", "pat007_2", "pat008_1", "unnamed")
    for seed, name in enumerate(names):
        save(picture(seed), source / "ill" / f"{name}.png")
        save(picture(seed + 10), source / "well" / f"{name}x.png")
    pattern = ("--group-by", "name-pattern", "--pattern", r"pat(\d+)")
    assert run("import-folder", source, out, *pattern) == 0
    assert len(list((out / "ill" / "007").iterdir())) == 2
    assert len(groups(out, "ill")) == 3  # what the pattern does not match is its own group


def test_grouping_by_hash_ignores_folders(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-folder", source, out, "--group-by", "hash")
    assert len(groups(out, "ill")) == 4


def test_near_duplicates_join_whole_groups(source: Path, tmp_path: Path) -> None:
    save(picture(0), source / "ill" / "ill-p2" / "copy.jpg", quality=60)
    out = tmp_path / "out"
    run("import-folder", source, out)
    assert groups(out, "ill") == ["ill-p1"]
    assert len(list((out / "ill" / "ill-p1").iterdir())) == 5


def test_a_near_duplicate_across_classes_shares_its_group_and_is_reported(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrored = picture(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save(mirrored, source / "well" / "well-p1" / "copy.png")
    out = tmp_path / "out"
    assert run("import-folder", source, out) == 0
    assert groups(out, "ill") == ["ill-p1", "ill-p2"]
    assert groups(out, "well") == ["ill-p1", "well-p2"]
    assert report(out) == [
        {
            "suspicious": "near_duplicate_across_classes",
            "paths": ["ill/ill-p1/a.png", "well/well-p1/copy.png"],
            "distance": 0,
        }
    ]
    assert "suspicious: 1 pair" in capsys.readouterr().out


def test_a_folder_is_renamed_into_a_class(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    save(picture(1), source / "Non COVID" / "a.png")
    save(picture(2), source / "COVID" / "b.png")
    renamed = ("--rename", "Non COVID=non_covid", "--rename", "COVID=covid")
    assert run("import-folder", source, out, *renamed) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["covid", "non_covid"]


def test_what_is_skipped_is_named_with_its_reason(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = source / "ill" / "ill-p1"
    whole = (folder / "a.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(whole)
    (folder / "link.png").symlink_to(folder / "a.png")
    (source / "beside.png").write_bytes(whole)
    save(picture(60, side=16), folder / "tiny.png")
    save(Image.new("L", (5000, 40)), folder / "strip.png")
    save(Image.fromarray(np.full((64, 64), 3000, np.uint16)), folder / "deep.png")
    pages = [picture(61), picture(62)]
    save(pages[0], folder / "pages.tif", save_all=True, append_images=pages[1:])
    out = tmp_path / "out"
    assert run("import-folder", source, out) == 0
    assert skipped(out) == {
        "beside.png": "outside_class_folder",
        "ill/ill-p1/.hidden.png": "hidden",
        "ill/ill-p1/deep.png": "deep_grey",
        "ill/ill-p1/empty.png": "not_a_picture",
        "ill/ill-p1/link.png": "not_a_file",
        "ill/ill-p1/notes.txt": "not_a_picture",
        "ill/ill-p1/pages.tif": "several_pages",
        "ill/ill-p1/strip.png": "too_large",
        "ill/ill-p1/text.png": "not_a_picture",
        "ill/ill-p1/tiny.png": "too_small",
        "ill/ill-p1/truncated.png": "broken_picture",
    }
    assert "skipped, not_a_picture: 3" in capsys.readouterr().out
    assert len(tree(out)) == 8


def test_nothing_usable_is_exit_code_1(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    for label in ("ill", "well"):
        (source / label).mkdir(parents=True)
        (source / label / "a.png").write_text("no picture")
    assert run("import-folder", source, out) == 1
    assert set(skipped(out).values()) == {"not_a_picture"}


def refused(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *options: str) -> str:
    assert run("import-folder", source, out, *options) == 2
    assert not out.exists()
    return capsys.readouterr().err


def test_wrong_layouts_are_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "is no folder" in refused(capsys, tmp_path / "nowhere", out)
    assert "at least two classes" in refused(capsys, source / "ill" / "ill-p1", out)
    assert "lies in" in refused(capsys, source, source / "out")
    assert "no folder 'sick'" in refused(capsys, source, out, "--rename", "sick=ill")
    save(picture(70), source / "a class" / "a.png")
    assert "'a class' cannot be a class's name" in refused(capsys, source, out)


def test_the_pattern_and_its_option_need_each_other(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "need each other" in refused(capsys, source, out, "--group-by", "name-pattern")
    assert "need each other" in refused(capsys, source, out, "--pattern", "x")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--group-by", "patient"), "invalid choice"),
        (("--pattern", "(["), "no regular expression"),
        (("--rename", "ill"), "not FOLDER=CLASS"),
        (("--rename", "ill=a class"), "not FOLDER=CLASS"),
        (("--max-distance", "65"), "no whole number from 0 to 64"),
        (("--max-distance", "-1"), "no whole number from 0 to 64"),
    ],
)
def test_bad_options_are_refused_with_the_reason(
    options: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("import-folder", tmp_path, tmp_path / "out", *options)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    assert run("import-folder", source, out) == 2
    assert "holds files that no import has left" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["precious.txt"]
