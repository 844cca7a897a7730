"""The loop: epochs, what they were worth, which one is kept, when to end."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from training.algorithm.failure import StoppedError
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.log import LOGGER
from training.algorithm.metrics import EpochResult, Scores
from training.algorithm.optimiser import build_optimiser, learning_rate_at, set_learning_rate
from training.algorithm.passes import Run, evaluate, learn
from training.algorithm.probe import run_probe


@dataclass(slots=True)
class History:
    """Every finished epoch, and the best of them."""

    results: list[EpochResult] = field(default_factory=list)
    best: EpochResult | None = None

    def add(self, result: EpochResult) -> bool:
        """Add an epoch and return whether it is the best so far.

        Best is the highest validation accuracy, as in the built-in; among equals, the lowest
        validation loss.
        """
        self.results.append(result)
        if self.best is None or _worth(result) > _worth(self.best):
            self.best = result
            return True
        return False


def _worth(result: EpochResult) -> tuple[float, float]:
    return result.validation.accuracy, -result.validation.loss


def fit(
    run: Run,
    on_epoch: Callable[[EpochResult], None],
    on_best: Callable[[EpochResult], None],
) -> History:
    """Run all epochs and return their history; the callbacks follow each epoch and each best.

    :raises StoppedError: when told to stop before an epoch was finished; later, the history up
        to then is returned.
    """
    history = History()
    try:
        for result in _epochs(run):
            on_epoch(result)
            if history.add(result):
                on_best(result)
            if should_stop_early(history.results, run.chosen):
                LOGGER.info("Early stopping after Epoch[%d]", result.epoch)
                break
    except StoppedError as error:
        if history.best is None:
            raise StoppedError(
                "told to stop before the first epoch was finished: there is no model to keep"
            ) from error
        LOGGER.info("Told to stop: the best of %d epochs is kept", len(history.results))
    return history


def should_stop_early(results: Sequence[EpochResult], chosen: Hyperparameters) -> bool:
    """Whether validation accuracy has not improved for long enough, as the built-in counts it."""
    if not chosen.early_stopping or len(results) < chosen.early_stopping_min_epochs:
        return False
    best, waited = -1.0, 0
    for result in results:
        accuracy = result.validation.accuracy
        if accuracy > best + max(best, 0.0) * chosen.early_stopping_tolerance:
            best, waited = accuracy, 0
        else:
            waited += 1
    return waited >= chosen.early_stopping_patience


def _epochs(run: Run) -> Iterator[EpochResult]:
    chosen = run.chosen
    first = 0
    if chosen.probe:
        result = run_probe(run)
        _log_train(result.epoch, result.train, result.seconds)
        _log_validation(result.epoch, result.validation)
        yield result
        first = 1
        if chosen.trainable_stages == 0:
            LOGGER.info(
                "trainable_stages=0: the probe has found the best head, so the remaining %d of %d "
                "epochs are left out",
                *(chosen.epochs - 1, chosen.epochs),
            )
            return
    optimiser = build_optimiser(run.classifier.learning_parameters(), chosen)
    for epoch in range(first, chosen.epochs):
        rate = learning_rate_at(epoch, chosen)
        set_learning_rate(optimiser, rate)
        started = time.monotonic()
        train = learn(run, optimiser, epoch)
        seconds = time.monotonic() - started
        _log_train(epoch, train, seconds)
        _check_sample_count(train.samples, chosen)
        validation = evaluate(run, epoch)
        _log_validation(epoch, validation)
        yield EpochResult(epoch, "fit", train, validation, rate, seconds, train.samples / seconds)


def _check_sample_count(seen: int, chosen: Hyperparameters) -> None:
    if seen != chosen.num_training_samples:
        LOGGER.warning(
            "num_training_samples=%d, but the train channel delivered %d samples",
            *(chosen.num_training_samples, seen),
        )


def _log_train(epoch: int, scores: Scores, seconds: float) -> None:
    LOGGER.info("Epoch[%d] Train-accuracy=%.6f", epoch, scores.accuracy)
    _log_top_k(epoch, "Train", scores)
    LOGGER.info("Epoch[%d] Time cost=%.3f", epoch, seconds)


def _log_validation(epoch: int, scores: Scores) -> None:
    LOGGER.info("Epoch[%d] Validation-accuracy=%.6f", epoch, scores.accuracy)
    _log_top_k(epoch, "Validation", scores)


def _log_top_k(epoch: int, what: str, scores: Scores) -> None:
    if scores.top_k is not None:
        LOGGER.info(
            "Epoch[%d] %s-top_k_accuracy_%d=%.6f", epoch, what, scores.top_k, scores.top_k_accuracy
        )
