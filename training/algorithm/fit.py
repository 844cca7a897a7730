"""The loop: epochs, what they were worth, which one is kept, when to end."""

import time
from collections.abc import Callable, Sequence

from training.algorithm.failure import StoppedError
from training.algorithm.history import History
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.learner import Learner
from training.algorithm.log import LOGGER
from training.algorithm.losses import LabelCounts, needs_counts
from training.algorithm.metrics import EpochResult, Scores
from training.algorithm.passes import Run, count_train_labels, evaluate, learn
from training.algorithm.probe import run_probe
from training.algorithm.resuming import Past
from training.algorithm.sharing import catch_up


def fit(
    run: Run,
    on_epoch: Callable[[EpochResult], None],
    on_best: Callable[[EpochResult], None],
    on_state: Callable[[History, Learner | None], None],
    past: Past | None = None,
) -> History:
    """Run all epochs after those of ``past``, and return the history with these.

    ``on_epoch`` and ``on_best`` follow each epoch and each best, while the network has the weights
    that were evaluated; ``on_state`` follows them when it has those that learning goes on from.
    Of several processes, only the first one's ``on_epoch`` and ``on_best`` are called.

    :raises StoppedError: when told to stop before an epoch was finished; later, the history up
        to then is returned.
    """
    history = past.history if past else History()

    def note(result: EpochResult) -> None:
        on_epoch(result)
        if history.add(result):
            on_best(result)

    try:
        if run.chosen.probe and not history.results:
            _conclude(run, history, lambda: _probe(run, note))
            on_state(history, None)
        _run_epochs(run, past, history, note, on_state)
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


def _run_epochs(
    run: Run,
    past: Past | None,
    history: History,
    note: Callable[[EpochResult], None],
    on_state: Callable[[History, Learner], None],
) -> None:
    chosen = run.chosen
    learner: Learner | None = None
    for epoch in range(len(history.results), chosen.epochs):
        if _is_over(history, chosen):
            return
        learner = learner or _make_learner(run, past, epoch)
        _run_epoch(run, learner, epoch, history, note)
        on_state(history, learner)


def _run_epoch(
    run: Run, learner: Learner, epoch: int, history: History, note: Callable[[EpochResult], None]
) -> None:
    started = time.monotonic()
    train = learn(run, learner, epoch)
    seconds = time.monotonic() - started
    _log_train(epoch, train, seconds)
    _check_sample_count(train.samples, run.chosen)

    def validate() -> EpochResult:
        with learner.to_evaluate():
            validation = evaluate(run, epoch)
            _log_validation(epoch, validation)
            rate, speed = learner.learning_rate, train.samples / seconds
            result = EpochResult(epoch, "fit", train, validation, rate, seconds, speed)
            note(result)
        return result

    _conclude(run, history, validate)


def _probe(run: Run, note: Callable[[EpochResult], None]) -> EpochResult:
    result = run_probe(run)
    _log_train(result.epoch, result.train, result.seconds)
    _log_validation(result.epoch, result.validation)
    note(result)
    return result


def _conclude(run: Run, history: History, work: Callable[[], EpochResult]) -> None:
    """Have the first process do ``work`` and note its result; the others hear of it."""
    result = run.team.lead(work)
    if not run.team.place.is_main:
        history.add(result)


def _is_over(history: History, chosen: Hyperparameters) -> bool:
    """Whether nothing is to be done after the epochs of ``history``."""
    done = len(history.results)
    if chosen.probe and chosen.trainable_stages == 0:
        LOGGER.info(
            "trainable_stages=0: the probe has found the best head, so the remaining %d of %d "
            "epochs are left out",
            *(chosen.epochs - done, chosen.epochs),
        )
        return True
    if should_stop_early(history.results, chosen):
        LOGGER.info("Early stopping after Epoch[%d]", done - 1)
        return True
    return False


def _make_learner(run: Run, past: Past | None, epoch: int) -> Learner:
    weighted = needs_counts(run.chosen)

    def count() -> tuple[LabelCounts | None, int]:
        if weighted and run.label_counts is None:
            run.label_counts = count_train_labels(run, epoch)
        return run.label_counts, run.train.passes

    run.label_counts, passes = run.team.lead(count)
    catch_up(run.train, run.team, passes)
    counts = run.label_counts if weighted else None
    learner = Learner(run.classifier, run.chosen, counts, run.team)
    if past and past.learner:
        learner.load_state_dict(past.learner)
    return learner


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
