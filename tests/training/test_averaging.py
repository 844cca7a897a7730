from typing import Any

import pytest
import torch

from training.algorithm.averaging import Averaging
from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.model import Classifier, build_resnet


def following(**given: str) -> tuple[Classifier, Averaging]:
    torch.manual_seed(0)
    classifier = Classifier(build_resnet(20, 1, 2), 1, frozen_batch_norm=False)
    required = {"num_classes": "2", "num_training_samples": "8"}
    return classifier, Averaging(classifier, read_hyperparameters({**required, **given}))


def set_bias(classifier: Classifier, value: float) -> None:
    with torch.no_grad():
        classifier.head.bias.fill_(value)


def evaluated_bias(classifier: Classifier, averaging: Averaging) -> float:
    with averaging.in_place():
        return classifier.head.bias[0].item()


def test_the_average_follows_and_the_tuned_weights_come_back() -> None:
    classifier, averaging = following(ema="0.5")
    set_bias(classifier, 0)
    _, averaging = (
        classifier,
        Averaging(
            classifier,
            read_hyperparameters({"num_classes": "2", "num_training_samples": "8", "ema": "0.5"}),
        ),
    )
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, 4.0, 8.0, 16.0]):
        set_bias(classifier, value)
        averaging.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert evaluated_bias(classifier, averaging) == pytest.approx(expected)
    assert classifier.head.bias[0].item() == 16


def test_the_share_of_the_start_stays_in_what_is_kept() -> None:
    classifier, _ = following()
    set_bias(classifier, 1)
    rules = {"num_classes": "2", "num_training_samples": "8", "start_share": "0.25"}
    averaging = Averaging(classifier, read_hyperparameters(rules))
    set_bias(classifier, 5)
    assert evaluated_bias(classifier, averaging) == pytest.approx(0.25 * 1 + 0.75 * 5)
    assert classifier.head.bias[0].item() == 5


def test_frozen_stages_are_as_they_were_and_batch_norm_is_averaged_too() -> None:
    classifier, averaging = following(ema="0.9")
    resnet: Any = classifier.resnet
    norm = resnet.layer3[0].bn1
    norm.running_mean.fill_(3)
    averaging.update()
    frozen = resnet.layer1[0].conv1.weight.clone()
    with averaging.in_place():
        assert norm.running_mean[0].item() == pytest.approx(0.9 * 3)
        assert torch.equal(resnet.layer1[0].conv1.weight, frozen)
    assert norm.running_mean[0].item() == 3


def test_off_nothing_is_kept_or_changed() -> None:
    classifier, averaging = following()
    set_bias(classifier, 7)
    averaging.update()
    assert evaluated_bias(classifier, averaging) == 7
    assert averaging.state_dict() == {"steps": 0, "mean": [], "start": []}


def test_the_state_goes_on_where_it_was() -> None:
    rules = {"ema": "0.9", "start_share": "0.5"}
    classifier, averaging = following(**rules)
    set_bias(classifier, 2)
    averaging.update()
    other_classifier, other = following(**rules)
    set_bias(other_classifier, 2)
    other.load_state_dict(averaging.state_dict())
    for each, its in ((classifier, averaging), (other_classifier, other)):
        set_bias(each, 9)
        its.update()
    assert evaluated_bias(classifier, averaging) == evaluated_bias(other_classifier, other)
