"""The Mendeley set's layout and names."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.datasets.builders import groups, picture, run, save, skipped, tree
from training.datasets.mendeley import group_key

NAMES = {
    "COVID": (
        "2020.02.22.20024927-p19-68%5.png",
        "2020.02.22.20024927-p19-67.png",
        "Covid (386).png",
    ),
    "Non-COVID": ("40%1.jpg", "40%2.jpg", "1262.png", "normal.tif"),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """As the archive unpacks: once more within a folder of its own name, X-rays beside CT."""
    root, seed = tmp_path / "8h65ywd2jr-3", 0
    inner = root / "COVID-19 Dataset" / "COVID-19 Dataset"
    for part in ("CT", "X-ray"):
        for label, names in NAMES.items():
            for name in names:
                mode = "RGBA" if name.endswith(".png") else "RGB"
                save(picture(seed).convert(mode), inner / part / label / name)
                seed += 1
    return root


def test_ct_is_taken_and_x_rays_are_left_out_by_name(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("import-mendeley", source, out) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["covid", "non_covid"]
    assert len(tree(out)) == 7
    left_out = skipped(out)
    assert len(left_out) == 7
    assert set(left_out.values()) == {"x_ray"}
    assert all("/X-ray/" in name for name in left_out)
    assert "skipped, x_ray: 7" in capsys.readouterr().out


def test_everything_becomes_grey_png(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-mendeley", source, out)
    for name in tree(out):
        with Image.open(out / name) as image:
            assert (image.format, image.mode) == ("PNG", "L")
    with Image.open(next((out / "covid").rglob("Covid_386*.png"))) as image:
        assert np.array_equal(np.asarray(image), np.asarray(picture(2)))


def test_names_tell_what_belongs_together(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("import-mendeley", source, out)
    assert groups(out, "covid") == ["covid-Covid-0007", "preprint-2020.02.22.20024927"]
    assert groups(out, "non_covid")[1:] == ["non_covid-0000", "non_covid-0025"]
    assert len(list((out / "non_covid" / "non_covid-0000").iterdir())) == 2


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        ("2020.01.24.919183-p27-132", "preprint-2020.01.24.919183"),
        ("2020.03.04.20031047-p14-87%0", "preprint-2020.03.04.20031047"),
        ("18%3", "covid-0000"),
        ("fig%3", "covid-fig"),
        ("Covid (99)", "covid-Covid-0001"),
        ("slice", None),
        ("2020.13", "covid-2020.-0000"),
        ("2020.01.24.9191831234-p1", "covid-2020.01.24.9191831234-p-0000"),
    ],
)
def test_group_keys(stem: str, key: str | None) -> None:
    assert group_key(stem, "covid", 50) == key


def test_without_blocks_numbers_say_nothing() -> None:
    assert group_key("Covid (99)", "covid", 0) is None
    assert group_key("40%1", "covid", 0) == "covid-40"


@pytest.mark.parametrize("given", ["COVID-19 Dataset", "COVID-19 Dataset/COVID-19 Dataset/CT"])
def test_the_folder_may_be_given_at_any_depth(given: str, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("import-mendeley", source / given, out) == 0
    assert len(tree(out)) == 7


def test_case_and_hyphens_of_folders_do_not_matter(tmp_path: Path) -> None:
    source, out = tmp_path / "set", tmp_path / "out"
    save(picture(1), source / "ct" / "Covid" / "a.png")
    save(picture(2), source / "ct" / "non covid" / "b.png")
    save(picture(3), source / "XRay" / "covid" / "c.png")
    assert run("import-mendeley", source, out) == 0
    assert set(skipped(out).values()) == {"x_ray"}


def test_what_lies_elsewhere_is_named(source: Path, tmp_path: Path) -> None:
    save(picture(80), source / "stray.png")
    (source / "COVID-19 Dataset" / "readme.txt").write_text("x")
    out = tmp_path / "out"
    run("import-mendeley", source, out)
    left_out = skipped(out)
    assert left_out["stray.png"] == "outside_ct"
    assert left_out["COVID-19 Dataset/readme.txt"] == "not_a_picture"


def test_a_tree_without_ct_is_refused_and_told_what_was_expected(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    x_rays = source / "COVID-19 Dataset" / "COVID-19 Dataset" / "X-ray"
    assert run("import-mendeley", x_rays, out) == 2
    told = capsys.readouterr().err
    assert "expected …/COVID-19 Dataset/CT/COVID" in told
    assert "no CT pictures of covid, non_covid" in told
    assert not out.exists()


def test_one_class_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(picture(1), tmp_path / "set" / "CT" / "COVID" / "a.png")
    assert run("import-mendeley", tmp_path / "set", tmp_path / "out") == 2
    assert "no CT pictures of non_covid" in capsys.readouterr().err
