import pytest
import torch
from torch.nn import functional

from training.algorithm.probe import fit_head


def samples(count: int, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping clouds of very different spread per feature, one feature without any."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, 6, generator=generator)
    features = centres[labels] + torch.randn(count, 6, generator=generator)
    spreads = torch.tensor([3.0, 1.0, 2.0, 5.0, 1.0, 1.0])
    return torch.cat([features * spreads + 7, torch.full((count, 1), 4.0)], dim=1), labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("c", [1e-3, 1.0])
def test_the_head_is_the_optimum_of_the_penalised_loss(classes: int, c: float) -> None:
    features, labels = samples(200, classes)
    head = fit_head(features, labels, classes, c)
    raw = features.double()
    mean, std = (
        raw.mean(0),
        raw.std(0, correction=0).clamp_min(0.1 * raw.std(0, correction=0).mean()),
    )
    weight = (head.weight.double() * std).requires_grad_()
    bias = (head.bias.double() + head.weight.double() @ mean).requires_grad_()
    loss = functional.cross_entropy((raw - mean) / std @ weight.T + bias, labels)
    penalty = weight.square().sum() / (2 * c * len(labels))
    for slope in torch.autograd.grad(loss + penalty, (weight, bias)):
        assert slope.abs().max() < 1e-3


def test_a_weaker_penalty_fits_more_closely() -> None:
    features, labels = samples(200)
    losses = [
        float(functional.cross_entropy(fit_head(features, labels, 2, c).logits(features), labels))
        for c in (1e-4, 1e-2, 1.0)
    ]
    assert losses == sorted(losses, reverse=True)


def test_a_feature_that_never_varies_has_no_say() -> None:
    features, labels = samples(100)
    assert fit_head(features, labels, 2, 1.0).weight[:, -1].abs().max() < 1e-6


def test_the_same_features_give_the_same_head() -> None:
    features, labels = samples(100)
    first, second = (fit_head(features, labels, 2, 0.1) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
