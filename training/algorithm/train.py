"""The ``train`` program: settings → network and channels → loop → artefact.

Exit code 0 leaves a model; 2 means that the request or its data must change, 1 that the job
failed otherwise; both leave the reason in ``/opt/ml/output/failure``.
"""

import logging
import os
import signal
import threading

import torch

from training.algorithm.channels import TRAIN, VALIDATION, check_channels
from training.algorithm.data import Channel, Feed
from training.algorithm.failure import describe_failure, write_failure
from training.algorithm.fit import fit
from training.algorithm.hardware import choose_device, count_cores
from training.algorithm.hyperparameters import (
    Hyperparameters,
    as_text,
    class_names,
    load_hyperparameters,
)
from training.algorithm.images import Scaling
from training.algorithm.log import LOGGER, set_up_logging
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.outcome import Outcome
from training.algorithm.passes import Run
from training.algorithm.pipe import Patience
from training.algorithm.settings import TrainSettings, layout_from, read_train_settings
from training.algorithm.weights import load_ct_weights


def main() -> int:
    """Run a training job and return its exit code; every failure is logged and written down."""
    set_up_logging()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    try:
        _train(read_train_settings(os.environ), stop)
    except Exception as error:  # noqa: BLE001  # whatever it is, the job must say so
        reason, log_line, exit_code = describe_failure(error)
        LOGGER.log(logging.ERROR, log_line, exc_info=exit_code == 1)
        write_failure(layout_from(os.environ).failure, reason)
        return exit_code
    return 0


def _train(settings: TrainSettings, stop: threading.Event) -> None:
    chosen = load_hyperparameters(settings.layout.hyperparameters)
    classes = class_names(chosen, settings.classes)
    check_channels(settings.layout)
    _log_parameters(chosen)
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(count_cores())
    run, start = _build(chosen, settings, stop)
    outcome = Outcome(run, settings, classes, start)
    history = fit(run, outcome.keep_metrics, outcome.keep_model)
    outcome.conclude(history)


def _build(
    chosen: Hyperparameters, settings: TrainSettings, stop: threading.Event
) -> tuple[Run, str]:
    """Return all that the loop needs, and where the weights started from."""
    resnet = build_resnet(chosen.num_layers, chosen.image_shape[0], chosen.num_classes)
    start = load_ct_weights(resnet) if chosen.use_pretrained_model else "random"
    device = choose_device()
    classifier = Classifier(
        resnet, chosen.trainable_stages, frozen_batch_norm=chosen.frozen_batch_norm
    )
    classifier.place_on(device)
    feed = Feed(
        settings.layout,
        Patience(settings.pipe_timeout_s, (stop,)),
        chosen.image_shape,
        chosen.num_classes,
        chosen.mini_batch_size,
        chosen.seed,
        decoders=count_cores(),
    )
    channels = Channel(TRAIN, feed), Channel(VALIDATION, feed)
    return Run(chosen, classifier, Scaling(), device, *channels), start


def _log_parameters(chosen: Hyperparameters) -> None:
    LOGGER.info("---- Parameters ----")
    for name, text in as_text(chosen).items():
        LOGGER.info("%s: %s", name, text)
