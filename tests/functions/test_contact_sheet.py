"""The contact sheet: which slices are shown, in which order, and that anything can be drawn."""

from dataclasses import replace
from io import BytesIO

import pytest
from PIL import Image, ImageColor

from tomodrop.contact_sheet import (
    COLOURS,
    MAX_TILES,
    WARNING,
    Tile,
    choose,
    contact_sheet,
    percent,
)

CLASSES = ("covid", "non_covid")


def tile(number: int, label: str, probability: float, caption: str = "") -> Tile:
    return Tile(
        f"batches/b/slices/{number}.png", label, probability, caption or f"{number:04d}.png"
    )


def tiles(count: int, classes: tuple[str, ...] = CLASSES) -> list[Tile]:
    return [tile(i, classes[i % len(classes)], 0.5 + 0.5 * i / count) for i in range(count)]


def picture(colour: str = "#808080", size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def draw(shown: list[Tile], body: bytes, classes: tuple[str, ...] = CLASSES) -> Image.Image:
    chosen = choose(shown, classes)
    pictures = {part.key: body for part in chosen.tiles()}
    sheet = contact_sheet(chosen, pictures, classes, title="Batch", notice="Research use only.")
    with Image.open(BytesIO(sheet)) as image:
        assert image.format == "PNG"
        return image.copy()


def test_least_certain_come_first_then_the_surest_of_each_class() -> None:
    chosen = choose(tiles(40), CLASSES, per_section=3)
    shown = [(part.heading, [int(t.caption[:4]) for t in part.tiles]) for part in chosen.sections]
    assert shown == [
        ("Least certain", [0, 1, 2]),
        ("Most certain: covid", [38, 36, 34]),
        ("Most certain: non_covid", [39, 37, 35]),
    ]


def test_what_is_atypical_is_marked() -> None:
    plain = tile(0, "covid", 0.9)
    marked = replace(plain, atypical=True)
    before, after = (draw([one], picture()) for one in (plain, marked))
    assert before.size == after.size
    red = ImageColor.getrgb(WARNING)
    counts = [
        sum(pixel == red for pixel in sheet.get_flattened_data()) for sheet in (before, after)
    ]
    assert counts[1] > counts[0] + 500


def test_no_slice_is_shown_twice_and_a_small_batch_is_shown_whole() -> None:
    shown = list(choose(tiles(5), CLASSES).tiles())
    assert len(shown) == len(set(shown)) == 5


def test_the_choice_does_not_depend_on_the_order_of_the_batch() -> None:
    equal = [tile(i, "covid", 0.9) for i in range(30)]
    assert choose(equal, CLASSES) == choose(equal[::-1], CLASSES)


@pytest.mark.parametrize("count", [1, 24, 25, 5000])
@pytest.mark.parametrize("classes", [CLASSES, tuple(f"class-{i}" for i in range(40))])
def test_however_large_the_batch_the_sheet_is_bounded(count: int, classes: tuple[str, ...]) -> None:
    chosen = choose(tiles(count, classes), classes)
    assert 1 <= len(list(chosen.tiles())) <= MAX_TILES
    assert sum(chosen.counts.values()) == count


def test_a_class_nobody_was_given_has_no_section() -> None:
    chosen = choose([tile(i, "covid", 0.9) for i in range(9)], CLASSES)
    assert [part.heading for part in chosen.sections] == ["Least certain", "Most certain: covid"]


def test_frames_have_the_colour_of_the_label() -> None:
    image = draw([tile(0, "covid", 0.9)], picture("#010203"))
    colours = {colour for _, colour in image.getcolors(1 << 20) or []}
    first, second = (tuple(bytes.fromhex(code[1:])) for code in COLOURS[:2])
    assert first in colours  # frame and legend
    assert sum(n for n, colour in image.getcolors(1 << 20) or [] if colour == first) > 1000
    assert sum(n for n, colour in image.getcolors(1 << 20) or [] if colour == second) < 500
    assert (1, 2, 3) in colours  # the slice itself


@pytest.mark.parametrize(
    "caption", ["肺 スライス+1.png", "a\nb\x00\u202e.png", "é" * 900, " ", "x"]
)
def test_any_file_name_can_be_drawn(caption: str) -> None:
    assert draw([tile(0, "covid", 0.9, caption)], picture()).width > 1000


def test_a_label_that_the_classes_lack_is_drawn_in_ink() -> None:
    chosen = choose([tile(0, "other", 0.9)], ["other"])
    body = {part.key: picture() for part in chosen.tiles()}
    assert contact_sheet(chosen, body, [], title="", notice="").startswith(b"\x89PNG")


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (512, 512)])
def test_pictures_of_any_size_fit_their_tile(size: tuple[int, int]) -> None:
    sizes = {draw([tile(0, "covid", 0.9)], picture(size=size)).size}
    assert sizes == {draw([tile(0, "covid", 0.9)], picture()).size}


def test_a_missing_picture_is_an_error_that_names_it() -> None:
    chosen = choose([tile(7, "covid", 0.9)], CLASSES)
    with pytest.raises(KeyError, match=r"slices/7\.png"):
        contact_sheet(chosen, {}, CLASSES, title="", notice="")


def test_a_broken_picture_is_an_error() -> None:
    chosen = choose([tile(7, "covid", 0.9)], CLASSES)
    broken = {part.key: b"not a picture" for part in chosen.tiles()}
    with pytest.raises(OSError, match="cannot identify"):
        contact_sheet(chosen, broken, CLASSES, title="", notice="")


@pytest.mark.parametrize(
    ("probability", "text"),
    [(1.0, "100 %"), (0.9999, ">99 %"), (0.994, "99 %"), (0.5, "50 %"), (0.0, "0 %")],
)
def test_only_certainty_is_called_100_percent(probability: float, text: str) -> None:
    assert percent(probability) == text
