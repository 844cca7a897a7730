"""The rules of the gate, without any stack."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.functions.builders import ENVIRONMENT, MODEL
from tests.functions.evaluations import CREATED, RECORD
from tomodrop.gate import Made, judge, made_for, made_for_live, made_now, refuse_unseen
from tomodrop.imaging.version import NORMALISER
from tomodrop.measuring import Difference, Figures
from tomodrop.resampling import Interval
from tomodrop.settings import Settings


def figures(accuracy: float = 0.9, sensitivity: float | None = 0.9, error: float = 0.1) -> Figures:
    return Figures(
        [[1, 0], [0, 1]],
        Interval(accuracy, None, None),
        None,
        None if sensitivity is None else Interval(sensitivity, None, None),
        None,
        Interval(error, None, None),
    )


def difference(value: float, bound: float | None) -> Difference:
    return Difference(Interval(value, None, None), None, 0.95, bound)


def rules(**changes: Any) -> Settings:
    names = {name.upper(): str(value) for name, value in changes.items()}
    return Settings.from_environment(ENVIRONMENT | names)


NaN = float("nan")


@pytest.mark.parametrize(
    ("given", "changes", "fault"),
    [
        (figures(0.8), {}, None),
        (figures(0.7999999), {}, "(parameter MinimumValidationAccuracy)"),
        (figures(NaN), {}, "(parameter MinimumValidationAccuracy)"),
        (figures(sensitivity=0.0), {}, None),
        (figures(sensitivity=None), {}, None),
        (figures(sensitivity=0.9), {"minimum_sensitivity": 0.9}, None),
        (figures(sensitivity=0.89), {"minimum_sensitivity": 0.9}, "(parameter MinimumSensitivity)"),
        (figures(sensitivity=NaN), {"minimum_sensitivity": 0.9}, "(parameter MinimumSensitivity)"),
        (figures(sensitivity=None), {"minimum_sensitivity": 0.1}, "cannot be measured"),
        (figures(error=0.1), {"maximum_calibration_error": 0.1}, None),
        (figures(error=0.11), {"maximum_calibration_error": 0.1}, "MaximumCalibrationError"),
        (figures(error=NaN), {"maximum_calibration_error": 0.1}, "MaximumCalibrationError"),
    ],
)
def test_the_floors(given: Figures, changes: dict[str, float], fault: str | None) -> None:
    verdict, reason = judge(rules(**changes), given, None, None)
    assert verdict == ("refused" if fault else "promoted")
    assert (fault or "reaches the minimum") in reason


def test_every_floor_that_is_missed_is_told() -> None:
    strict = rules(minimum_sensitivity=0.95, maximum_calibration_error=0.01)
    _, reason = judge(strict, figures(0.5), None, None)
    assert reason == (
        "accuracy 0.500 on held-out slices is below the minimum 0.800 (parameter "
        "MinimumValidationAccuracy); sensitivity 0.900 is below the minimum 0.950 (parameter "
        "MinimumSensitivity); calibration error 0.100 is above the maximum 0.010 (parameter "
        "MaximumCalibrationError)"
    )


def test_a_model_below_a_floor_is_refused_however_much_better_it_is() -> None:
    verdict, reason = judge(rules(), figures(0.7), "live", difference(0.5, 0.4))
    assert (verdict, "below the minimum" in reason) == ("refused", True)


@pytest.mark.parametrize(
    ("value", "bound", "margin", "verdict"),
    [
        (0.05, 0.01, 0.02, "promoted"),
        (0.0, -0.02, 0.02, "promoted"),
        (0.0, -0.0200004, 0.02, "promoted"),
        (0.0, -0.021, 0.02, "refused"),
        (0.3, -0.021, 0.02, "refused"),
        (-0.01, -0.019, 0.02, "promoted"),
        (0.0, 0.0, 0.0, "promoted"),
        (0.0, -0.001, 0.0, "refused"),
        (-0.9, -1.0, 1.0, "promoted"),
        (0.0, NaN, 0.02, "refused"),
        (0.0, None, 0.02, "refused"),
    ],
)
def test_not_worse_by_more_than_the_margin(
    value: float, bound: float | None, margin: float, verdict: str
) -> None:
    settings = rules(promotion_margin=margin)
    assert judge(settings, figures(), "live", difference(value, bound))[0] == verdict


def test_the_reasons_say_what_was_found_and_what_to_do() -> None:
    good = judge(rules(), figures(), "live", difference(0.013, -0.004))[1]
    assert good == (
        "accuracy 0.900 on held-out slices reaches the minimum 0.800; its accuracy less that of "
        "the live model live is +0.013, with 95% confidence at least -0.004 (margin 0.020)"
    )
    bad = judge(rules(), figures(), "live", difference(-0.01, -0.04))[1]
    assert bad == (
        "its accuracy less that of the live model live is -0.010, with 95% confidence at least "
        "-0.040: that it is not worse by more than 0.020 is not shown. Label more groups, or "
        "change parameter PromotionMargin or PromotionConfidence"
    )
    alone = judge(rules(), figures(), "live", difference(0.0, None))[1]
    assert "single held-out group" in alone


# Models that need not be scored

COMPLETED = {"TrainingJobStatus": "Completed", "CreationTime": CREATED}
MADE = made_for(RECORD)


def test_a_completed_training_is_to_be_scored(settings: Settings) -> None:
    assert refuse_unseen(settings, COMPLETED, MADE, None) is None
    assert refuse_unseen(settings, COMPLETED, MADE, MODEL) is None


def test_the_reason_of_a_failed_training_is_told(settings: Settings) -> None:
    described = {"TrainingJobStatus": "Failed", "FailureReason": "ClientError: bad, exit code: 2"}
    assert refuse_unseen(settings, described, MADE, None) == (
        "failed",
        "the job ended Failed: ClientError: bad, exit code: 2",
    )


def test_of_two_trainings_begun_at_once_either_may_follow(settings: Settings) -> None:
    same = MODEL.model_copy(update={"trained_at": CREATED})
    assert refuse_unseen(settings, COMPLETED, MADE, same) is None


@pytest.mark.parametrize("made_of", [made_for, None])
def test_what_a_model_was_made_for(
    made_of: Callable[[dict[str, Any]], Made] | None, settings: Settings
) -> None:
    made = made_of(RECORD) if made_of else made_for_live(MODEL)
    assert made == made_now(settings)
    assert made.unlike(made_now(settings)) == ""


def test_what_differs_is_named() -> None:
    other = Made(("a", "b"), "9", (3, 8, 8))
    assert MADE.unlike(other) == (
        f"classes non_covid,covid instead of a,b; normaliser {NORMALISER} instead of 9; "
        "image shape 3,64,64 instead of 3,8,8"
    )
