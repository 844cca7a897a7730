from dataclasses import replace

import pytest
import torch

from training.algorithm.fit import should_stop_early
from training.algorithm.history import History
from training.algorithm.hyperparameters import Hyperparameters, read_hyperparameters
from training.algorithm.metrics import EpochResult, Scores
from training.algorithm.optimiser import build_optimiser, set_learning_rate


def chosen(**given: str) -> Hyperparameters:
    return read_hyperparameters({"num_classes": "2", "num_training_samples": "10", **given})


def epoch(number: int, accuracy: float, loss: float = 1.0) -> EpochResult:
    scores = Scores(accuracy, loss, samples=10)
    return EpochResult(number, "fit", scores, scores, 0.1, seconds=1.0, images_per_second=10.0)


def test_the_best_epoch_needs_a_higher_accuracy_or_among_equals_a_lower_loss() -> None:
    history = History()
    results = [epoch(0, 0.5, 0.9), epoch(1, 0.5, 0.9), epoch(2, 0.5, 0.8), epoch(3, 0.4, 0.1)]
    assert [history.add(result) for result in results] == [True, False, True, False]
    assert history.best == results[2]


@pytest.mark.parametrize(
    ("accuracies", "tolerance", "stops"),
    [
        ([0.5, 0.6, 0.7, 0.8], "0", False),
        ([0.8, 0.7, 0.8], "0", True),
        ([0.8, 0.7, 0.81], "0", False),
        ([0.8, 0.7, 0.81], "0.05", True),
        ([0.0, 0.0, 0.1], "0", False),
        ([0.8, 0.7], "0", False),
    ],
)
def test_early_stopping_waits_for_a_relative_improvement(
    accuracies: list[float], tolerance: str, *, stops: bool
) -> None:
    rules = chosen(
        early_stopping="True",
        early_stopping_min_epochs="3",
        early_stopping_patience="2",
        early_stopping_tolerance=tolerance,
    )
    results = [epoch(number, accuracy) for number, accuracy in enumerate(accuracies)]
    assert should_stop_early(results, rules) is stops
    assert not should_stop_early(results, replace(rules, early_stopping=False))


@pytest.mark.parametrize(
    ("name", "kind", "decay"),
    [
        ("sgd", torch.optim.SGD, 0.01),
        ("nag", torch.optim.SGD, 0.01),
        ("adam", torch.optim.Adam, 0),
        ("adamw", torch.optim.AdamW, 0.01),
        ("rmsprop", torch.optim.RMSprop, 0),
    ],
)
def test_each_optimizer_is_the_one_asked_for(
    name: str, kind: type[torch.optim.Optimizer], decay: float
) -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = build_optimiser([[weight]], chosen(optimizer=name, weight_decay="0.01"))
    assert type(optimiser) is kind
    assert optimiser.param_groups[0]["weight_decay"] == decay
    assert optimiser.param_groups[0].get("nesterov", False) is (name == "nag")
    optimiser.zero_grad()
    weight.grad = torch.ones(1)
    optimiser.step()
    assert weight.item() < 1


def test_each_part_learns_at_its_own_rate() -> None:
    weights = [[torch.nn.Parameter(torch.zeros(1))] for _ in range(3)]
    optimiser = build_optimiser(weights, chosen(momentum="0", stage_rate_factor="0.5"))
    set_learning_rate(optimiser, 0.4)
    for group in weights:
        group[0].grad = torch.ones(1)
    optimiser.step()
    assert [group[0].item() for group in weights] == pytest.approx([-0.4, -0.2, -0.1])
