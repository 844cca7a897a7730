"""The gate: which model may go live. Pure rules over measured figures, with reasons for people."""

from dataclasses import dataclass
from typing import Any

from tomodrop.imaging.version import NORMALISER
from tomodrop.live_model import LiveModel
from tomodrop.measuring import Difference, Figures
from tomodrop.settings import Settings

PROMOTED, REFUSED, FAILED = "promoted", "refused", "failed"
Verdict = tuple[str, str]


@dataclass(frozen=True)
class Made:
    """What a model was made for: a model fits where its classes and pixels are the same."""

    classes: tuple[str, ...]
    normaliser: str
    image_shape: tuple[int, ...]

    def unlike(self, other: "Made") -> str:
        """In what this differs from another, in words; empty if in nothing."""
        names = {
            "classes": (",".join(self.classes), ",".join(other.classes)),
            "normaliser": (self.normaliser, other.normaliser),
            "image shape": (_shape(self.image_shape), _shape(other.image_shape)),
        }
        return "; ".join(
            f"{name} {mine} instead of {theirs}"
            for name, (mine, theirs) in names.items()
            if mine != theirs
        )


def _shape(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def made_now(settings: Settings) -> Made:
    """What `intake` makes and `retrain` learns now."""
    return Made(settings.class_names, NORMALISER, settings.image_shape)


def made_for(record: dict[str, Any]) -> Made:
    """What a training's `job.json` says that its model is made for."""
    return Made(tuple(record["classes"]), record["normaliser"], tuple(record["image_shape"]))


def made_for_live(live: LiveModel) -> Made:
    """What the live model was made for."""
    return Made(live.classes, live.normaliser, live.image_shape)


def refuse_unseen(
    settings: Settings, described: dict[str, Any], made: Made, live: LiveModel | None
) -> Verdict | None:
    """The verdict on a model that need not be scored: failed, for other images, or outdated.

    `described`: DescribeTrainingJob's answer for a job that ended.
    """
    status = described["TrainingJobStatus"]
    if status != "Completed":
        return FAILED, f"the job ended {status}: {described.get('FailureReason') or 'no reason'}"
    difference = made.unlike(made_now(settings))
    if difference:
        return REFUSED, f"the model was made for other images than the stack's now: {difference}"
    if live and live.trained_at > described["CreationTime"]:
        return REFUSED, f"the live model {live.model_name} was trained later"
    return None


def judge(
    settings: Settings, challenger: Figures, champion: str | None, difference: Difference | None
) -> Verdict:
    """The verdict on a model that was scored: by the floors, then by comparison if it can be.

    `champion`: name of the live model, None if there is none or the two cannot be compared.
    """
    below = _floors(settings, challenger)
    if below:
        return REFUSED, "; ".join(below)
    passed = (
        f"accuracy {challenger.accuracy.value:.3f} on held-out slices reaches the minimum "
        f"{settings.minimum_validation_accuracy:.3f}"
    )
    if champion is None or difference is None:
        return PROMOTED, passed
    return _compare(settings, passed, champion, difference)


def _floors(settings: Settings, figures: Figures) -> list[str]:
    accuracy, error = figures.accuracy.value, figures.calibration_error.value
    below = []
    if not accuracy >= settings.minimum_validation_accuracy:
        below.append(
            f"accuracy {accuracy:.3f} on held-out slices is below the minimum "
            f"{settings.minimum_validation_accuracy:.3f} (parameter MinimumValidationAccuracy)"
        )
    if settings.minimum_sensitivity and figures.sensitivity is None:
        below.append(
            "sensitivity cannot be measured, for no held-out slice has findings, and "
            f"{settings.minimum_sensitivity:.3f} is asked for (parameter MinimumSensitivity)"
        )
    elif figures.sensitivity and not figures.sensitivity.value >= settings.minimum_sensitivity:
        below.append(
            f"sensitivity {figures.sensitivity.value:.3f} is below the minimum "
            f"{settings.minimum_sensitivity:.3f} (parameter MinimumSensitivity)"
        )
    if not error <= settings.maximum_calibration_error:
        below.append(
            f"calibration error {error:.3f} is above the maximum "
            f"{settings.maximum_calibration_error:.3f} (parameter MaximumCalibrationError)"
        )
    return below


def _compare(settings: Settings, passed: str, champion: str, difference: Difference) -> Verdict:
    """Not worse by more than a margin, shown with confidence (one-sided, non-inferiority)."""
    margin, bound = settings.promotion_margin, difference.lower_bound
    shown = (
        f"its accuracy less that of the live model {champion} is {difference.accuracy.value:+.3f}"
    )
    if bound is None:
        return REFUSED, (
            f"{shown}, on the slices of a single held-out group, which says nothing of others: "
            "label more groups"
        )
    bounded = f"{shown}, with {settings.promotion_confidence:.0%} confidence at least {bound:+.3f}"
    # The six digits that people find in evaluation.json: equal models pass a margin of 0.
    if round(bound, 6) >= -margin:
        return PROMOTED, f"{passed}; {bounded} (margin {margin:.3f})"
    return REFUSED, (
        f"{bounded}: that it is not worse by more than {margin:.3f} is not shown. Label more "
        "groups, or change parameter PromotionMargin or PromotionConfidence"
    )
