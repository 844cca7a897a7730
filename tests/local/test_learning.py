"""When labelled files are worth a training."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from local.learning import needs_training
from local.plan import Version
from tomodrop.live_model import LiveModel

TRAINED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LIVE = LiveModel(
    model_name="tomodrop-train-1",
    training_job="tomodrop-train-1",
    trained_at=TRAINED,
    classes=("covid", "non_covid"),
    normaliser="1",
    image_shape=(3, 32, 32),
    fingerprint="f",
    metrics={},
)


def uploaded(minutes: float) -> Mapping[str, Version]:
    moment = TRAINED + timedelta(minutes=minutes)
    return {
        "labelled/covid/p/old.png": Version("v1", "e", 1, TRAINED - timedelta(days=9)),
        "labelled/covid/p/new.png": Version("v2", "e", 1, moment),
    }


def test_without_a_live_model_there_is_something_to_learn() -> None:
    assert needs_training(None, None, uploaded(-5))
    assert needs_training(None, TRAINED, uploaded(-5))


def test_files_that_the_newest_training_saw_are_not_learnt_again() -> None:
    assert not needs_training(LIVE, TRAINED, uploaded(-5))


def test_a_file_from_after_the_newest_training_is_learnt() -> None:
    assert needs_training(LIVE, TRAINED, uploaded(+5))


def test_a_refused_training_on_the_same_files_is_not_repeated() -> None:
    refused = TRAINED + timedelta(minutes=10)
    assert not needs_training(LIVE, refused, uploaded(+5))


def test_a_live_model_whose_training_is_unknown_is_not_trusted_to_know_the_files() -> None:
    assert needs_training(LIVE, None, uploaded(-5))
