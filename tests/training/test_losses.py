import pytest
import torch
from torch.nn import functional

from training.algorithm.hyperparameters import Hyperparameters, read_hyperparameters
from training.algorithm.losses import LabelCounts, Loss, count_labels, loss_weights, needs_counts

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])
CLASSES = torch.tensor([0, 2])
SEVERAL = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


def chosen(**given: str) -> Hyperparameters:
    return read_hyperparameters({"num_classes": "3", "num_training_samples": "10", **given})


def test_one_class_per_image_is_cross_entropy() -> None:
    expected = functional.cross_entropy(LOGITS, CLASSES, label_smoothing=0.1)
    assert Loss(label_smoothing=0.1)(LOGITS, CLASSES).mean() == pytest.approx(float(expected))


def test_several_classes_are_asked_for_one_by_one() -> None:
    expected = functional.binary_cross_entropy(LOGITS.sigmoid(), SEVERAL)
    assert Loss()(LOGITS, SEVERAL).mean() == pytest.approx(float(expected))


def test_smoothing_of_several_classes_draws_each_towards_a_half() -> None:
    certain = torch.tensor([[20.0, -20.0]])
    labels = torch.tensor([[1.0, 0.0]])
    assert Loss()(certain, labels).item() < 1e-6
    assert Loss(label_smoothing=0.2)(certain, labels).item() == pytest.approx(0.1 * 20, rel=1e-3)


def test_a_rare_class_weighs_as_much_altogether_as_a_frequent_one() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = loss_weights(count_labels(labels, 3), chosen(class_weighting="balanced"))
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    losses = Loss(weights=weights)(torch.zeros(10, 3), labels)
    totals = [float(losses[labels == index].sum()) for index in range(3)]
    assert totals == pytest.approx([totals[0]] * 3)


def test_positives_of_several_classes_weigh_as_much_as_their_negatives() -> None:
    labels = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    counts = count_labels(labels, 2)
    assert (counts.positives.tolist(), counts.samples) == ([1, 3], 4)
    weights = loss_weights(counts, chosen(multi_label="1", use_weighted_loss="1"))
    assert weights.tolist() == pytest.approx([3, 1 / 3])


@pytest.mark.parametrize("positives", [0, 10])
def test_a_class_never_seen_or_always_has_a_finite_weight(positives: int) -> None:
    counts = LabelCounts(torch.tensor([positives, 5, 5]), 10)
    for rules in (chosen(class_weighting="balanced"), chosen(multi_label="1")):
        weights = loss_weights(counts, rules)
        assert bool((weights > 0).all())
        assert bool(weights.isfinite().all())


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, False),
        ({"use_weighted_loss": "1"}, False),
        ({"multi_label": "1"}, False),
        ({"multi_label": "1", "use_weighted_loss": "1"}, True),
        ({"class_weighting": "balanced"}, True),
    ],
)
def test_classes_are_counted_only_where_it_matters(given: dict[str, str], *, needed: bool) -> None:
    assert needs_counts(chosen(**given)) is needed
