from pathlib import Path

import pytest

from training.algorithm.failure import BadSampleError, ChannelConfigError
from training.algorithm.image_lists import ListedImage, read_image_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "train_lst"
    path.mkdir()
    return path


def test_lines_are_read_in_order(folder: Path) -> None:
    (folder / "train.lst").write_text("5\t1\tp01/a b.png\n\n7\t0.000000\tc.png\r\n")
    assert read_image_list(folder) == [
        ListedImage((1.0,), "p01/a b.png"),
        ListedImage((0.0,), "c.png"),
    ]


def test_several_columns_are_several_classes(folder: Path) -> None:
    (folder / "train.lst").write_text("0\t1\t0\t1\ta.png")
    assert read_image_list(folder) == [ListedImage((1.0, 0.0, 1.0), "a.png")]


def test_several_lists_follow_each_other_by_name(folder: Path) -> None:
    (folder / "b.lst").write_text("0\t1\tb.png\n")
    (folder / "a.lst").write_text("0\t0\ta.png\n")
    assert [image.path for image in read_image_list(folder)] == ["a.png", "b.png"]


@pytest.mark.parametrize("name", [None, "train.txt"])
def test_a_channel_without_a_list_is_refused(folder: Path, name: str | None) -> None:
    if name:
        (folder / name).write_text("0\t0\ta.png\n")
    with pytest.raises(ChannelConfigError, match=r"'train_lst' holds no \.lst file"):
        read_image_list(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png", "1 columns"),
        ("0\ta.png", "2 columns"),
        ("0 1 a.png", "1 columns"),
        ("x\t1\ta.png", "column 1 is no number"),
        ("0\tcovid\ta.png", "column 2 is no number"),
        ("0\tnan\ta.png", "column 2 is no number"),
        ("0\t1\t", "below the channel's folder"),
        ("0\t1\t/etc/passwd", "below the channel's folder"),
        ("0\t1\t../other/a.png", "below the channel's folder"),
        ("0\t1\ta\0.png", "below the channel's folder"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(folder: Path, line: str, said: str) -> None:
    (folder / "train.lst").write_text(f"0\t1\tgood.png\n{line}\n")
    with pytest.raises(BadSampleError, match=rf"train_lst/\*\.lst, line 2.*{said}"):
        read_image_list(folder)
