"""One rule makes a volume's probabilities of its slices'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import lines_of, source
from tomodrop.slices import IndexLine
from tomodrop.volumes import shows_lung, volume_probabilities

ROWS = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.0, 1.0], [0.1, 0.9]]


def lines(lungs: str) -> list[IndexLine]:
    """Slices of one upload: "+" shows lung, "-" does not."""
    made = lines_of(source(), len(lungs))
    return [
        line.model_copy(update={"has_lung": sign == "+"})
        for line, sign in zip(made, lungs, strict=True)
    ]


@pytest.mark.parametrize(
    ("top_share", "used"),
    [
        (0.001, [3]),
        (0.2, [3]),
        (0.21, [3, 4]),
        (0.6, [1, 3, 4]),
        (1.0, [0, 1, 2, 3, 4]),
    ],
)
def test_the_top_share_is_rounded_up(top_share: float, used: list[int]) -> None:
    read = volume_probabilities(lines("+++++"), ROWS, top_share)
    assert read.used == used
    expected = [sum(ROWS[place][column] for place in used) / len(used) for column in (0, 1)]
    assert read.probabilities == pytest.approx(expected)


def test_a_tenth_of_thirty_is_three() -> None:
    rows = [[1 - number / 100, number / 100] for number in range(30)]
    assert volume_probabilities(lines("+" * 30), rows, 0.1).used == [27, 28, 29]


def test_slices_without_lung_do_not_count() -> None:
    read = volume_probabilities(lines("+++--"), ROWS, 0.5)
    assert read.used == [1, 2]


def test_without_any_lung_all_count() -> None:
    assert volume_probabilities(lines("-----"), ROWS, 1.0).used == [0, 1, 2, 3, 4]


def test_of_equal_slices_the_earlier_are_used() -> None:
    assert volume_probabilities(lines("++++"), [[0.5, 0.5]] * 4, 0.5).used == [0, 1]


def test_every_class_but_the_first_counts_against_it() -> None:
    rows = [[0.5, 0.5, 0.0], [0.1, 0.0, 0.9], [0.8, 0.1, 0.1]]
    assert volume_probabilities(lines("+++"), rows, 0.3).probabilities == rows[1]


def test_rows_and_slices_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        volume_probabilities(lines("+"), ROWS, 0.5)


def test_a_picture_of_its_own_shows_lung() -> None:
    assert [shows_lung(line) for line in (*lines("-"), *lines("+-"))] == [
        True,
        True,
        False,
    ]


@given(
    st.lists(st.tuples(st.sampled_from("+-"), st.floats(0, 1)), min_size=1, max_size=40),
    st.floats(0.001, 1),
)
def test_the_volume_is_never_less_like_the_negative_than_its_least_slice(
    slices: list[tuple[str, float]], top_share: float
) -> None:
    rows = [[1 - covid, covid] for _, covid in slices]
    signs = [sign for sign, _ in slices]
    read = volume_probabilities(lines("".join(signs)), rows, top_share)
    assert 1 <= len(read.used) <= len(rows)
    assert min(row[1] for row in rows) - 1e-9 <= read.probabilities[1]
    assert read.probabilities[1] <= max(row[1] for row in rows) + 1e-9
    everything = volume_probabilities(lines("".join(signs)), rows, 1.0)
    assert read.probabilities[1] >= everything.probabilities[1] - 1e-9
