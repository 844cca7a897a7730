import pytest

from training.algorithm.hyperparameters import read_hyperparameters
from training.algorithm.schedule import Schedule


def schedule(*, first_epoch: int = 0, **given: str) -> Schedule:
    """Four steps per epoch."""
    required = {"num_classes": "2", "num_training_samples": "16", "mini_batch_size": "4"}
    return Schedule(read_hyperparameters({**required, **given}), first_epoch, 4)


def test_the_rate_falls_at_the_named_epochs() -> None:
    rates = schedule(learning_rate="1", lr_scheduler_step="2,4", lr_scheduler_factor="0.5")
    assert [rates.rate(epoch, 0) for epoch in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert rates.rate(1, 3) == 1


def test_half_a_cosine_goes_from_the_whole_rate_to_none() -> None:
    rates = schedule(learning_rate="0.8", lr_schedule="cosine", epochs="4")
    steps = [rates.rate(epoch, step) for epoch in range(4) for step in range(4)]
    assert steps[0] == 0.8
    assert steps[8] == pytest.approx(0.4)
    assert steps == sorted(steps, reverse=True)
    assert 0 < steps[-1] < 0.01


def test_warm_up_rises_step_by_step_before_either_schedule() -> None:
    for kind in ("step", "cosine"):
        rates = schedule(learning_rate="0.8", lr_schedule=kind, warmup_epochs="1.5", epochs="9")
        rising = [rates.rate(epoch, step) for epoch in range(2) for step in range(4)][:6]
        assert rising == pytest.approx([0.8 * n / 6 for n in range(1, 7)], rel=0.01)


def test_epochs_before_the_first_steps_do_not_count() -> None:
    rates = schedule(
        first_epoch=1, learning_rate="0.8", lr_schedule="cosine", warmup_epochs="1", epochs="5"
    )
    assert rates.rate(1, 0) == pytest.approx(0.2)
    assert rates.rate(2, 0) == pytest.approx(0.8)
    assert rates.rate(4, 3) < 0.1


def test_a_pass_longer_than_said_stays_within_its_epoch() -> None:
    rates = schedule(learning_rate="0.8", lr_schedule="cosine", epochs="2")
    assert rates.rate(0, 99) == rates.rate(0, 3)
    assert rates.rate(1, 99) > 0
