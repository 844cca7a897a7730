import pytest
import torch

from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.learner import Learner
from training.algorithm.losses import LabelCounts
from training.algorithm.model import Classifier, build_resnet

COUNTS = LabelCounts(torch.tensor([4, 12]), 16)


def learner(**given: str) -> tuple[Classifier, Learner]:
    required = {"num_classes": "2", "num_training_samples": "16", "mini_batch_size": "16"}
    chosen = read_hyperparameters({**required, "epochs": "40", "learning_rate": "0.05", **given})
    torch.manual_seed(1)
    mixed = torch.bfloat16 if chosen.bf16 else None
    classifier = Classifier(build_resnet(20, 1, 2), 5, frozen_batch_norm=False, mixed=mixed)
    return classifier, Learner(classifier, chosen, COUNTS if chosen.class_weighting else None)


def images(labels: torch.Tensor) -> torch.Tensor:
    """Class 0 lights the upper half, class 1 the left one."""
    pixels = 0.2 * torch.rand(len(labels), 1, 12, 12, generator=torch.Generator().manual_seed(0))
    pixels[:, :, :6] += labels[:, 0, None, None, None]
    pixels[:, :, :, :6] += labels[:, 1, None, None, None]
    return pixels


def test_several_classes_of_an_image_are_learnt_on_their_own() -> None:
    labels = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 4)
    classifier, pupil = learner(multi_label="1", use_weighted_loss="1")
    for epoch in range(12):
        pupil.start_epoch(epoch)
        pupil.step(images(labels), labels)
    assert torch.equal(classifier(images(labels)).sigmoid() > 0.5, labels > 0.5)


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "adamw", "mixup": "0.3", "learning_rate": "0.01"},
        {"bf16": "1", "lr_schedule": "cosine", "warmup_epochs": "3"},
        {"class_weighting": "balanced", "stage_rate_factor": "0.7", "label_smoothing": "0.1"},
        {"optimizer": "rmsprop", "learning_rate": "0.001"},
        {"optimizer": "nag"},
    ],
)
def test_every_way_to_learn_learns(given: dict[str, str]) -> None:
    both = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 8)
    inputs, labels = images(both), both.argmax(1)
    classifier, pupil = learner(**given)
    for epoch in range(8):
        pupil.start_epoch(epoch)
        pupil.step(inputs, labels)
    # With the statistics of the batch, as batch-norm has seen too few for its own.
    assert torch.equal(classifier(inputs).argmax(1), labels)


def test_the_rate_is_that_of_the_schedule() -> None:
    _, pupil = learner(lr_scheduler_step="1", lr_scheduler_factor="0.5", learning_rate="0.2")
    rates = []
    for epoch in range(2):
        pupil.start_epoch(epoch)
        pupil.step(torch.rand(2, 1, 12, 12), torch.tensor([0, 1]))
        rates.append(pupil.learning_rate)
    assert rates == [0.2, 0.1]


def test_a_state_goes_on_where_it_was() -> None:
    given = {"optimizer": "adam", "learning_rate": "0.001", "mixup": "0.4", "ema": "0.9"}
    inputs, labels = torch.rand(6, 1, 12, 12), torch.tensor([0, 1] * 3)

    def go_on(classifier: Classifier, pupil: Learner) -> float:
        pupil.start_epoch(1)
        pupil.step(inputs, labels)
        with pupil.to_evaluate(), torch.no_grad():
            return float(classifier.eval()(inputs).sum())

    classifier, pupil = learner(**given)
    pupil.start_epoch(0)
    pupil.step(inputs, labels)
    network = {name: value.clone() for name, value in classifier.resnet.state_dict().items()}
    other, resumed = learner(**given)
    other.resnet.load_state_dict(network)
    # A copy, as a file would be: the state itself goes on changing.
    state = torch.utils._pytree.tree_map(_copy, pupil.state_dict())
    expected = go_on(classifier, pupil)
    resumed.load_state_dict(state)
    assert go_on(other, resumed) == expected


def _copy(value: object) -> object:
    return value.clone() if isinstance(value, torch.Tensor) else value
