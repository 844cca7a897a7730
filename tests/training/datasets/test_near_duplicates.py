"""What counts as looking alike, and that every such pair is found."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.training.datasets.builders import picture
from training.datasets.grouping import group_names, numbered_block
from training.datasets.near_duplicates import MAX_DISTANCE, Pair, find_pairs, hash_picture


def distance(first: Image.Image, second: Image.Image) -> int:
    hashes = np.stack([hash_picture(first), hash_picture(second)])
    (pair,) = find_pairs(hashes, max_distance=256)
    return pair.distance


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_mirrored_and_turned_copies_are_the_same(turn: Image.Transpose) -> None:
    assert distance(picture(1), picture(1).transpose(turn)) == 0


def test_another_size_or_brightness_looks_alike() -> None:
    image = picture(1)
    assert distance(image, image.resize((231, 200))) <= MAX_DISTANCE
    assert distance(image, ImageEnhance.Contrast(image).enhance(0.7)) <= MAX_DISTANCE


def test_other_pictures_do_not_look_alike() -> None:
    hashes = np.stack([hash_picture(picture(seed)) for seed in range(60)])
    assert find_pairs(hashes) == []


def test_a_part_of_a_picture_does_not_look_alike() -> None:
    assert distance(picture(1), picture(1).crop((0, 0, 48, 48))) > MAX_DISTANCE


def test_all_pairs_up_to_the_distance_are_found_and_no_others() -> None:
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 256, (40, 8, 32), dtype=np.uint8)
    hashes[30] = hashes[3]
    hashes[30, :, 0] ^= 0b111  # three bits of every orientation
    hashes[31] = hashes[4][[5, 1, 2, 3, 4, 0, 6, 7]]  # equal, but turned
    assert find_pairs(hashes, 3) == [Pair(3, 30, 3), Pair(4, 31, 0)]
    assert find_pairs(hashes, 2) == [Pair(4, 31, 0)]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures_make_no_pair(count: int) -> None:
    assert find_pairs(np.zeros((count, 8, 32), np.uint8)) == []


def test_pairs_join_all_that_bear_either_name() -> None:
    keys = ["p1", "p1", "p2", "p3", "p4"]
    assert group_names(keys, [Pair(1, 2, 0), Pair(2, 4, 5)]) == ["p1", "p1", "p1", "p3", "p1"]


def test_a_groups_name_is_safe_and_its_own() -> None:
    names = group_names(["a/b", "a b", "ä", "..", "ok-1"], [])
    assert len(set(names)) == 5
    assert names[-1] == "ok-1"
    assert all(name.isascii() and not set("/ ") & set(name) and name[0] != "." for name in names)


@pytest.mark.parametrize(
    ("stem", "block"),
    [
        ("Covid (386)", "Covid-0007"),
        ("Covid (400)", "Covid-0008"),
        ("Non-Covid (49)", "Non-Covid-0000"),
        ("1262", "0025"),
        ("img_0050", "img-0001"),
    ],
)
def test_numbers_fall_in_blocks(stem: str, block: str) -> None:
    assert numbered_block(stem, 50) == block


@pytest.mark.parametrize(
    ("stem", "block"), [("covid", 50), ("", 50), ("1a", 50), ("12", 0), ("²", 50)]
)
def test_what_bears_no_number_has_no_block(stem: str, block: int) -> None:
    assert numbered_block(stem, block) is None
