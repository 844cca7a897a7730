import math

import pytest
import torch

from training.algorithm.metrics import Tally, mean_auc, score


def probabilities(*positive: float) -> torch.Tensor:
    second = torch.tensor(positive)
    return torch.stack([1 - second, second], dim=1)


@pytest.mark.parametrize(
    ("values", "labels", "area"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 1.0),
        ([0.9, 0.8, 0.2, 0.1], [0, 0, 1, 1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 1], 0.5),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1], 0.875),
    ],
)
def test_area_counts_pairs_in_order(values: list[float], labels: list[int], area: float) -> None:
    assert mean_auc(probabilities(*values), torch.tensor(labels)) == pytest.approx(area)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_area_is_unknown_when_a_class_has_no_sample(labels: list[int]) -> None:
    assert mean_auc(probabilities(0.1, 0.2, 0.3), torch.tensor(labels)) is None


def test_scores_count_every_sample() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 2.0], [1.0, 2.0, 0.0]])
    result = score(logits, torch.tensor([0, 2, 0]), top_k=2)
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.samples == 3
    assert result.top_k_accuracy == 1.0
    assert result.loss == pytest.approx(
        sum(
            math.log(sum(math.exp(v) for v in row)) - row[label]
            for row, label in zip(logits.tolist(), [0, 2, 0], strict=True)
        )
        / 3,
        rel=1e-5,
    )


def test_a_tally_weighs_batches_by_their_size() -> None:
    tally = Tally()
    assert tally.accuracy == 0.0
    tally.add(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 0, 1]), loss=1.0)
    tally.add(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), loss=5.0)
    result = tally.result()
    assert (result.accuracy, result.loss, result.samples) == (0.75, 2.0, 4)
