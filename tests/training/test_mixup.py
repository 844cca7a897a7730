import numpy as np
import torch

from training.algorithm.losses import Loss
from training.algorithm.mixup import mix

IMAGES = torch.arange(4.0)[:, None, None, None].expand(4, 3, 2, 2)
LABELS = torch.tensor([0, 1, 2, 3])


def test_images_and_labels_are_blended_by_the_same_share() -> None:
    mixed = mix(IMAGES, LABELS, 0.4, np.random.default_rng(1))
    assert 0.5 <= mixed.share < 1
    expected = mixed.share * mixed.labels + (1 - mixed.share) * mixed.others
    assert torch.allclose(mixed.inputs[:, 0, 0, 0], expected)
    logits = torch.randn(4, 4)
    parts = [Loss()(logits, labels) for labels in (mixed.labels, mixed.others)]
    blended = mixed.share * parts[0] + (1 - mixed.share) * parts[1]
    assert torch.allclose(mixed.losses(Loss(), logits), blended)


def test_several_classes_per_image_are_blended_as_well() -> None:
    labels = torch.eye(4)
    mixed = mix(IMAGES, labels, 1.0, np.random.default_rng(3))
    assert mixed.losses(Loss(), torch.randn(4, 4)).shape == (4,)


def test_a_generator_replays_it_and_another_does_not() -> None:
    first, again, other = (mix(IMAGES, LABELS, 1.0, np.random.default_rng(s)) for s in (5, 5, 6))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_nothing_is_done_when_off_or_alone() -> None:
    for images, alpha in ((IMAGES, 0.0), (IMAGES[:1], 1.0)):
        mixed = mix(images, LABELS[: len(images)], alpha, np.random.default_rng(0))
        assert mixed.share == 1
        assert torch.equal(mixed.inputs, images)
