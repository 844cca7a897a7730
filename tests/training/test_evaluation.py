"""The figures of the shipped epoch: by hand on tiny cases, and honest about their units."""

import json
import math
import re

import pytest
import torch

from training.algorithm.answers import Answers
from training.algorithm.evaluation import Evaluation, describe, evaluate_answers, metric_line
from training.algorithm.intervals import Estimate
from training.algorithm.probabilities import Calibration

CLASSES = ("non_covid", "covid")


def two_classes(margins: list[float], labels: list[int], groups: str | None = None) -> Evaluation:
    """Evaluate logits (0, margin): a positive margin answers covid."""
    logits = torch.tensor([[0.0, margin] for margin in margins])
    given = tuple(groups) if groups else None
    return evaluate_answers(Answers(logits, torch.tensor(labels), given), CLASSES, seed=0)


def value(found: Estimate | None) -> float:
    assert found is not None
    return found.value


def test_the_figures_by_hand() -> None:
    # Four of covid, three of them found; two of non_covid, one of them taken for covid.
    found = two_classes([2, 1, 1, -1, -2, 0.5], [1, 1, 1, 1, 0, 0])
    assert value(found.raw["accuracy"]) == pytest.approx(4 / 6)
    assert value(found.raw["sensitivity"]) == pytest.approx(3 / 4)
    assert value(found.raw["specificity"]) == pytest.approx(1 / 2)
    # Pairs in order: all four against -2, and three against 0.5.
    assert value(found.figures["auc"]) == pytest.approx(7 / 8)
    assert found.positive == "covid"


def test_each_of_more_classes_has_its_own() -> None:
    logits = torch.eye(3)[[0, 0, 1, 2, 0]] * 4
    labels = torch.tensor([0, 1, 1, 2, 2])
    found = evaluate_answers(Answers(logits, labels), ("a", "b", "c"), seed=0)
    assert found.positive is None
    assert {name: value(each) for name, each in found.raw.items() if name != "ece"} == {
        "accuracy": pytest.approx(3 / 5),
        "sensitivity of a": 1.0,
        "specificity of a": pytest.approx(2 / 4),
        "sensitivity of b": pytest.approx(1 / 2),
        "specificity of b": 1.0,
        "sensitivity of c": pytest.approx(1 / 2),
        "specificity of c": 1.0,
    }
    # One class against the rest: (1 + 2 halves + 2) / 4, (1.5 + 3) / 6 with ties, the same again.
    areas = [(2 + 2 * 0.5) / 4, (3 + 3 * 0.5) / 6, (3 + 3 * 0.5) / 6]
    assert value(found.figures["auc"]) == pytest.approx(sum(areas) / 3)
    per_class = found.as_json()["per_class"]
    assert set(per_class) == {"a", "b", "c"}
    assert set(per_class["a"]) == {"sensitivity", "specificity"}


def test_several_classes_of_an_image_are_judged_one_by_one_and_not_calibrated() -> None:
    logits = torch.tensor([[3.0, -1.0], [2.0, 1.0], [-1.0, 2.0], [-2.0, -3.0]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    found = evaluate_answers(Answers(logits, labels), ("a", "b"), seed=0)
    assert value(found.figures["accuracy"]) == pytest.approx(7 / 8)
    assert value(found.figures["sensitivity of a"]) == pytest.approx(2 / 3)
    assert value(found.figures["specificity of a"]) == 1.0
    assert value(found.figures["auc"]) == 1.0
    assert found.calibration_json() is None
    assert "ece" not in found.figures
    assert metric_line(found, 2) == "Shipped epoch=2 shipped-auc=1.000000 shipped-accuracy=0.875000"


def drawn(count: int, groups: int | None, shift: float = 0.0, factor: float = 1.0) -> Answers:
    """Answers that are right as often as they say, before they are shifted and sharpened."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(count, 2, generator=generator) * 1.5
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    names = tuple(f"g{number % groups}" for number in range(count)) if groups else None
    return Answers(logits * factor + torch.tensor([shift, 0.0]), labels, names)


def test_what_is_shipped_is_what_the_calibrated_model_answers() -> None:
    found = evaluate_answers(drawn(1200, 30, shift=4.0, factor=3.0), CLASSES, seed=0)
    assert value(found.figures["accuracy"]) > value(found.raw["accuracy"]) + 0.03
    assert value(found.figures["ece"]) < value(found.raw["ece"]) - 0.05
    calibration = found.calibration_json()
    assert calibration is not None
    assert calibration["temperature"] == pytest.approx(3, rel=0.15)
    assert calibration["bias"][1] == pytest.approx(2 / 3, abs=0.15)
    assert sum(calibration["bias"]) == pytest.approx(0, abs=1e-12)
    assert calibration["fitted_on"] == 1200
    assert calibration["ece_before"] == value(found.raw["ece"])
    assert calibration["ece_after"] == value(found.figures["ece"])


@pytest.mark.parametrize(
    ("groups", "unit", "units"), [(None, "sample", 60), (1, "sample", 60), (12, "group", 12)]
)
def test_it_says_what_the_intervals_go_by(groups: int | None, unit: str, units: int) -> None:
    found = evaluate_answers(drawn(60, groups), CLASSES, seed=0)
    content = found.as_json()
    assert (content["unit"], content["units"], content["samples"]) == (unit, units, 60)
    assert content["interval"].startswith(f"95% percentile bootstrap by {unit}, 2000 resamples;")
    assert f"95% interval by {unit} ({units}" in describe(found)
    assert ("none of them known" in describe(found)) == (unit == "sample")


def test_what_is_not_defined_is_null_and_not_logged() -> None:
    found = two_classes([1, 2, -1], [1, 1, 1])
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (content["auc"], content["specificity"]) == (None, None)
    assert content["uncalibrated"]["sensitivity"]["value"] == pytest.approx(2 / 3)
    line = metric_line(found, 0)
    assert "shipped-auc" not in line
    assert "shipped-specificity" not in line


def test_the_line_is_what_regexes_read() -> None:
    line = metric_line(two_classes([2, 1, -1, -2], [1, 1, 0, 0], "abcd"), 7)
    assert re.fullmatch(
        r"Shipped epoch=7( shipped-(auc|accuracy|sensitivity|specificity|ece)=\d\.\d{6}){5}", line
    )


def test_a_network_that_has_diverged_is_described_too() -> None:
    logits = torch.full((20, 2), math.nan)
    found = evaluate_answers(Answers(logits, torch.arange(20) % 2), CLASSES, seed=0)
    assert found.calibrated is not None
    assert found.calibrated.calibration == Calibration(1.0, (0.0, 0.0))
    json.dumps(found.as_json(), allow_nan=False)


def test_answers_survive_a_checkpoint() -> None:
    answers = drawn(6, 2)
    again = Answers.from_state_dict(answers.state_dict())
    assert torch.equal(again.logits, answers.logits)
    assert again.groups == answers.groups
    assert again.unit_of.tolist() == [0, 1, 0, 1, 0, 1]
