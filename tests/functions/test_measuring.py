"""What models are worth on held-out slices: figures by hand, and intervals that go by group."""

import random
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomodrop.answers import Answer
from tomodrop.discrimination import area_under_roc
from tomodrop.held_out import HeldOutSlice
from tomodrop.measuring import Measured, bin_of, measure
from tomodrop.resampling import MOST_UNITS, exact, quantile, units_of

Case = tuple[int, str, tuple[float, ...]]


def measured(*cases: Case, champion: Sequence[tuple[float, ...]] | None = None) -> Measured:
    """Figures on slices of (label, group, probabilities of the challenger)."""
    slices = [HeldOutSlice(f"s{n}", label, group) for n, (label, group, _) in enumerate(cases)]
    answers = {"challenger": {f"s{n}": Answer(given) for n, (_, _, given) in enumerate(cases)}}
    if champion:
        answers["champion"] = {f"s{n}": Answer(given) for n, given in enumerate(champion)}
    return measure(slices, answers, 0.95, "seed")


SIX = (
    (0, "a", (0.9, 0.1)),
    (0, "a", (0.6, 0.4)),
    (0, "b", (0.3, 0.7)),
    (1, "b", (0.2, 0.8)),
    (1, "c", (0.55, 0.45)),
    (1, "c", (0.1, 0.9)),
)


def test_the_figures_of_six_slices() -> None:
    figures = measured(*SIX).figures["challenger"]
    assert figures.confusion == [[2, 1], [1, 2]]
    assert figures.accuracy.value == pytest.approx(4 / 6)
    assert figures.sensitivity
    assert figures.specificity
    assert figures.sensitivity.value == pytest.approx(2 / 3)
    assert figures.specificity.value == pytest.approx(2 / 3)
    assert figures.auc
    # Of nine pairs two stand the wrong way round: 0.7 before 0.45, and no other; 0.4 < 0.45.
    assert figures.auc.value == pytest.approx(8 / 9)
    # Bins (0.5, 0.6], (0.6, 0.7], (0.7, 0.8], (0.8, 0.9]: right answers less probabilities.
    apart = abs((1 - 0.6) + (0 - 0.55)) + abs(0 - 0.7) + abs(1 - 0.8) + abs(2 - 1.8)
    assert figures.calibration_error.value == pytest.approx(apart / 6)


def test_of_several_classes_any_finding_counts_as_one() -> None:
    """The first class is without findings; another finding than the true one is still one."""
    figures = measured(
        (0, "a", (0.8, 0.1, 0.1)),
        (1, "a", (0.1, 0.2, 0.7)),
        (2, "b", (0.6, 0.2, 0.2)),
        (2, "b", (0.0, 0.1, 0.9)),
    ).figures["challenger"]
    assert figures.confusion == [[1, 0, 0], [0, 0, 1], [1, 0, 1]]
    assert figures.accuracy.value == 0.5
    assert figures.sensitivity
    assert figures.specificity
    assert figures.sensitivity.value == pytest.approx(2 / 3)
    assert figures.specificity.value == 1.0


def test_calibrated_probabilities_are_what_counts() -> None:
    slices = [HeldOutSlice("s", 1, "a"), HeldOutSlice("t", 0, "b")]
    answers = {
        "s": Answer((0.9, 0.1), calibrated=(0.2, 0.8)),
        "t": Answer((0.1, 0.9), calibrated=(0.7, 0.3)),
    }
    figures = measure(slices, {"challenger": answers}, 0.95, "seed").figures["challenger"]
    assert figures.accuracy.value == 1.0
    assert figures.calibration_error.value == pytest.approx((0.2 + 0.3) / 2)


def test_without_findings_some_figures_are_not_defined() -> None:
    figures = measured((0, "a", (0.9, 0.1)), (0, "b", (0.4, 0.6))).figures["challenger"]
    assert (figures.auc, figures.sensitivity) == (None, None)
    assert figures.as_metrics() == {
        "accuracy": 0.5,
        "specificity": 0.5,
        "calibration_error": pytest.approx(0.35),
    }
    assert figures.as_json()["sensitivity"] is None


@pytest.mark.parametrize(
    ("probability", "bin_number"), [(0.0, 0), (0.1, 0), (0.1001, 1), (0.5, 4), (0.95, 9), (1.0, 9)]
)
def test_bins_are_ten_and_closed_above(probability: float, bin_number: int) -> None:
    assert bin_of(probability) == bin_number


# Intervals


def many(groups: int, per_group: int, share_right: float, seed: int) -> list[Case]:
    """Groups that resemble themselves: nearly all slices of a group are right, or wrong."""
    draw = random.Random(seed)
    cases: list[Case] = []
    for number in range(groups):
        right = draw.random() < share_right
        for _ in range(per_group):
            label = number % 2
            said = label if (draw.random() < 0.95) == right else 1 - label
            cases.append((label, f"g{number}", (0.8, 0.2) if said == 0 else (0.2, 0.8)))
    return cases


def test_the_same_answers_give_the_same_figures() -> None:
    assert measured(*many(20, 3, 0.8, 1)) == measured(*many(20, 3, 0.8, 1))


def test_an_interval_by_group_is_as_wide_as_one_of_one_slice_a_group() -> None:
    """Ten slices of a patient say hardly more than one."""

    def width(cases: list[Case]) -> float:
        accuracy = measured(*cases).figures["challenger"].accuracy
        assert accuracy.low is not None
        assert accuracy.high is not None
        assert accuracy.low < accuracy.value < accuracy.high
        return accuracy.high - accuracy.low

    cases = many(60, 10, 0.8, 3)
    assert width(cases) == pytest.approx(width(cases[::10]), rel=0.25)
    as_if_independent = [(label, f"{n}", p) for n, (label, _, p) in enumerate(cases)]
    assert width(cases) > 2 * width(as_if_independent)


def test_most_intervals_hold_the_truth() -> None:
    truth = 0.8 * 0.95 + 0.2 * 0.05
    held = 0
    for seed in range(16):
        accuracy = measured(*many(40, 2, 0.8, seed)).figures["challenger"].accuracy
        assert accuracy.low is not None
        assert accuracy.high is not None
        held += accuracy.low <= truth <= accuracy.high
    assert held >= 13


def test_all_right_is_no_certainty() -> None:
    figures = measured((0, "a", (1.0, 0.0)), (1, "b", (0.0, 1.0))).figures["challenger"]
    assert figures.accuracy == exact(1.0, 2)
    assert figures.accuracy.low == pytest.approx(0.025**0.5)
    assert figures.accuracy.high == 1.0
    none = measured((0, "a", (0.0, 1.0)), (1, "b", (1.0, 0.0))).figures["challenger"]
    assert none.accuracy.high == pytest.approx(1 - 0.025**0.5)


def test_a_single_group_tells_nothing_of_others() -> None:
    figures = measured((0, "a", (0.9, 0.1)), (1, "a", (0.9, 0.1))).figures["challenger"]
    assert (figures.accuracy.value, figures.accuracy.low) == (0.5, None)


# The difference of two models


def test_the_difference_is_of_the_same_resamples() -> None:
    """Two models that err together differ by little for sure, however uncertain each is."""
    cases = many(40, 3, 0.7, 5)
    champion = [given for _, _, given in cases]
    champion[0] = champion[0][::-1]
    found = measured(*cases, champion=champion)
    assert found.difference
    width = found.difference.accuracy
    assert width.low is not None
    assert width.high is not None
    accuracy = found.figures["challenger"].accuracy
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert width.high - width.low < 0.2 * (accuracy.high - accuracy.low)
    assert abs(width.value) == pytest.approx(1 / 120)


def test_a_model_differs_from_itself_by_nothing() -> None:
    cases = many(30, 3, 0.7, 5)
    difference = measured(*cases, champion=[given for _, _, given in cases]).difference
    assert difference
    assert difference.as_json()["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert difference.lower_bound == 0.0


def test_the_lower_bound_is_one_sided() -> None:
    """95 % one-sided is the lower end of 90 % two-sided, so it lies above that of 95 %."""
    cases = many(60, 1, 0.7, 5)
    champion = [given for _, _, given in many(60, 1, 0.7, 6)]
    difference = measured(*cases, champion=champion).difference
    assert difference
    assert difference.lower_bound is not None
    assert difference.accuracy.low is not None
    assert difference.accuracy.low < difference.lower_bound < difference.accuracy.value


def test_of_one_group_there_is_no_bound() -> None:
    difference = measured((0, "a", (0.9, 0.1)), champion=[(0.1, 0.9)]).difference
    assert difference
    assert (difference.accuracy.value, difference.lower_bound) == (1.0, None)


def test_the_margin_is_held_to_as_often_as_is_said() -> None:
    """A challenger worse by the margin exactly is shown "not worse" in about one of 20 sets."""
    draw, passed = random.Random(8), 0
    for _ in range(20):
        cases, champion = [], []
        for number in range(40):
            label = number % 2
            right, wrong = ((0.8, 0.2), (0.2, 0.8))[:: 1 - 2 * label]
            worse, better = draw.random() < 0.15, draw.random() < 0.05
            cases.append((label, f"g{number}", wrong if worse else right))
            champion.append(wrong if better else right)
        difference = measured(*cases, champion=champion).difference
        assert difference
        assert difference.lower_bound is not None
        passed += difference.lower_bound >= -0.10
    assert passed <= 3


# Parts


def test_many_groups_are_put_together_evenly() -> None:
    names = [f"g{number}" for number in range(3 * MOST_UNITS + 1)]
    units = units_of(names, "seed")
    assert sorted(set(units)) == list(range(MOST_UNITS))
    assert {units.count(unit) for unit in range(5)} <= {3, 4}
    assert units != units_of(names, "another")
    assert units_of(names[:5], "seed") == [0, 1, 2, 3, 4]


def test_quantiles_lie_between_neighbours() -> None:
    assert [quantile([1.0, 2.0, 4.0], share) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        1.0,
        1.5,
        2.0,
        3.0,
        4.0,
    ]


scored = st.lists(
    st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.7]), st.booleans(), st.sampled_from("abcdef")),
    min_size=1,
    max_size=30,
)


@given(scored)
def test_the_area_is_the_share_of_pairs_in_order(cases: list[tuple[float, bool, str]]) -> None:
    scores, positive, groups = zip(*cases, strict=True)
    found = area_under_roc(scores, positive, groups)
    ups = [s for s, p, _ in cases if p]
    downs = [s for s, p, _ in cases if not p]
    if not ups or not downs:
        assert found is None
        return
    pairs = [1.0 if up > down else 0.5 if up == down else 0.0 for up, down in product(ups, downs)]
    assert found
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.high <= 1


def test_with_one_slice_a_group_the_interval_is_delongs() -> None:
    """DeLong 1988 from its definition: sample variances of the placements."""
    draw = random.Random(4)
    ups, downs = [draw.gauss(1, 1) for _ in range(30)], [draw.gauss(0, 1) for _ in range(40)]
    found = area_under_roc(
        [*ups, *downs], [True] * 30 + [False] * 40, [str(number) for number in range(70)]
    )
    placed_up = [sum(up > down for down in downs) / 40 for up in ups]
    placed_down = [sum(up > down for up in ups) / 30 for down in downs]

    def variance(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / (len(values) - 1)

    half = 1.959964 * (variance(placed_up) / 30 + variance(placed_down) / 40) ** 0.5
    assert found
    assert found.low is not None
    assert found.value - found.low == pytest.approx(half, rel=1e-3)


def test_slices_of_one_group_widen_the_interval_of_the_area() -> None:
    draw = random.Random(4)
    shifts = [draw.gauss(0, 1) for _ in range(40)]
    scores, positive, groups = [], [], []
    for number, shift in enumerate(shifts):
        for _ in range(8):
            scores.append(shift + (number % 2) + draw.gauss(0, 0.1))
            positive.append(number % 2 == 1)
            groups.append(f"g{number}")
    by_group = area_under_roc(scores, positive, groups)
    alone = area_under_roc(scores, positive, [str(n) for n in range(len(scores))])
    assert by_group
    assert alone
    assert by_group.low is not None
    assert alone.low is not None
    assert by_group.value - by_group.low > 2 * (alone.value - alone.low)
