"""Calibrated probabilities and typicality, as users see them."""

from typing import Any

import pytest

from tests.functions.builders import CLASSES, lines_of, source
from tests.functions.test_predictions import BATCH, REFERENCE, VALIDATOR, document
from tomodrop.answers import Answer
from tomodrop.predictions import Rules, predicted


def told(*answers: Answer, minimum: float = 0.05) -> dict[str, Any]:
    lines, rules = lines_of(source(), len(answers)), Rules(minimum_typicality=minimum)
    shown = document(predicted(lines, list(answers), list(CLASSES), REFERENCE, BATCH, rules))
    VALIDATOR.validate(shown)
    return shown


def test_calibrated_probabilities_are_shown_where_there_are_any() -> None:
    shown = told(Answer((0.25, 0.75), calibrated=(0.6, 0.4)))
    assert shown["prediction"] == {
        "label": "non_covid",
        "index": 0,
        "probability": 0.6,
        "probabilities": {"non_covid": 0.6, "covid": 0.4},
    }


def test_a_slice_that_few_held_out_ones_are_less_typical_than_is_warned_of() -> None:
    shown = told(Answer((0.25, 0.75), typicality=0.012))
    assert shown["prediction"]["typicality"] == 0.012
    (warning,) = shown["warnings"]
    assert warning == (
        "Atypical: only 1.2 % of held-out slices are less typical than this slice. The model has "
        "not seen the like, and its probabilities may mean nothing."
    )


def test_what_no_held_out_slice_is_less_typical_than_is_warned_of_in_such_words() -> None:
    (warning,) = told(Answer((0.25, 0.75), typicality=0.0))["warnings"]
    assert warning.startswith("Atypical: no held-out slice is less typical than this slice. ")


@pytest.mark.parametrize(
    ("typicality", "minimum", "warned"),
    [(0.05, 0.05, 0), (0.049, 0.05, 1), (0.0, 0.0, 0), (0.0, 0.001, 1), (0.9, 1.0, 1), (1, 1, 0)],
)
def test_the_warning_begins_below_the_parameter(
    typicality: float, minimum: float, warned: int
) -> None:
    shown = told(Answer((0.5, 0.5), typicality=typicality), minimum=minimum)
    assert len(shown["warnings"]) == warned


def test_without_a_typicality_there_is_neither_the_field_nor_a_warning() -> None:
    shown = told(Answer((0.5, 0.5)), minimum=1)
    assert "typicality" not in shown["prediction"]
    assert shown["warnings"] == []


def test_a_volume_is_as_typical_as_its_middle_slice() -> None:
    some = [Answer((0.5, 0.5), typicality=share) for share in (0.0, 0.04, 0.9)]
    shown = told(*some)
    assert shown["prediction"]["typicality"] == 0.04
    assert [one["typicality"] for one in shown["slices"]] == [0.0, 0.04, 0.9]
    (warning,) = shown["warnings"]
    assert "4.0 % of held-out slices are less typical than the middle one" in warning
    assert told(*some, Answer((0.5, 0.5), typicality=0.8))["warnings"] == []


def test_a_volume_with_an_untold_slice_is_of_unknown_typicality() -> None:
    shown = told(Answer((0.5, 0.5), typicality=0.0), Answer((0.5, 0.5)))
    assert "typicality" not in shown["prediction"]
    assert ["typicality" in one for one in shown["slices"]] == [True, False]


def test_slices_without_lung_say_nothing_of_how_typical_a_volume_is() -> None:
    lines = [
        line.model_copy(update={"has_lung": line.index == 0}) for line in lines_of(source(), 3)
    ]
    rows = [Answer((0.5, 0.5), typicality=share) for share in (0.4, 0.0, 0.0)]
    rules = Rules(minimum_typicality=0.05)
    shown = document(predicted(lines, rows, list(CLASSES), REFERENCE, BATCH, rules))
    assert shown["prediction"]["typicality"] == 0.4
    assert shown["warnings"] == ["2 of 3 slices show no lung and do not count."]
