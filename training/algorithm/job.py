"""One training job, once its request has been checked: build, fit, keep."""

import threading

import torch

from training.algorithm.channels import TRAIN, VALIDATION
from training.algorithm.data import Channel, Feed
from training.algorithm.fit import fit
from training.algorithm.hardware import choose_device, count_cores
from training.algorithm.hyperparameters import Hyperparameters, as_text
from training.algorithm.images import Scaling
from training.algorithm.log import LOGGER
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.outcome import Outcome
from training.algorithm.passes import Run
from training.algorithm.pipe import Patience
from training.algorithm.settings import TrainSettings
from training.algorithm.weights import load_ct_weights

START_FROM_NOISE = "random"


def run_job(
    chosen: Hyperparameters,
    settings: TrainSettings,
    classes: tuple[str, ...],
    stop: threading.Event,
) -> None:
    """Train, and leave model and metrics where SageMaker looks for them.

    :raises JobFailedError: for whatever the channels, the weights or a stop bring.
    """
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
    start = load_ct_weights(resnet) if chosen.use_pretrained_model else START_FROM_NOISE
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
