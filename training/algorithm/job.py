"""One training job, once its request has been checked: build, fit, keep."""

import threading
from pathlib import Path

import torch
from monai.networks.nets.resnet import ResNet

from training.algorithm.channels import TRAIN, VALIDATION
from training.algorithm.checkpoints import Checkpoints, find_checkpoints
from training.algorithm.combinations import CT
from training.algorithm.data import Channel, Feed
from training.algorithm.fit import fit
from training.algorithm.hardware import choose_device, count_cores, mixed_precision
from training.algorithm.history import History
from training.algorithm.hyperparameters import Hyperparameters, as_text
from training.algorithm.images import Scaling
from training.algorithm.learner import Learner
from training.algorithm.log import LOGGER
from training.algorithm.metrics import EpochResult
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.outcome import Outcome
from training.algorithm.passes import Run
from training.algorithm.pipe import Patience
from training.algorithm.resuming import Past, gather, restore
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
    checkpoints = find_checkpoints(settings, chosen, classes)
    past = _resume(checkpoints, run, outcome, settings.layout.model)

    def on_epoch(result: EpochResult) -> None:
        outcome.keep_metrics(result)
        every = chosen.checkpoint_frequency
        if every and (result.epoch + 1) % every == 0:
            outcome.keep_checkpoint(result)

    def on_state(history: History, learner: Learner | None) -> None:
        if checkpoints:
            checkpoints.save(gather(run, history, learner, settings.layout.model))

    history = fit(run, on_epoch, outcome.keep_model, on_state, past)
    outcome.conclude(history)


def _resume(
    checkpoints: Checkpoints | None, run: Run, outcome: Outcome, model: Path
) -> Past | None:
    """Bring everything to where an interrupted run of the same job was; None: from the start."""
    state = checkpoints.load() if checkpoints else None
    if state is None:
        return None
    past = restore(state, run, model)
    for result in past.history.results:
        outcome.keep_metrics(result)
    LOGGER.info("Resuming after Epoch[%d]", len(past.history.results) - 1)
    return past


def _build(
    chosen: Hyperparameters, settings: TrainSettings, stop: threading.Event
) -> tuple[Run, str]:
    """Return all that the loop needs, and where the weights started from."""
    resnet = build_resnet(chosen.num_layers, chosen.image_shape[0], chosen.num_classes)
    start = START_FROM_NOISE
    if chosen.use_pretrained_model:
        assert isinstance(resnet, ResNet)  # one of the depths there are weights for
        start = load_ct_weights(resnet)
    device = choose_device()
    classifier = Classifier(
        resnet,
        chosen.trainable_stages,
        frozen_batch_norm=chosen.frozen_batch_norm,
        mixed=mixed_precision(chosen, device),
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
        resize=chosen.resize,
        augmentation=CT if chosen.augmentation == CT else chosen.augmentation_type,
    )
    channels = Channel(TRAIN, feed), Channel(VALIDATION, feed)
    return Run(chosen, classifier, Scaling(), device, *channels), start


def _log_parameters(chosen: Hyperparameters) -> None:
    LOGGER.info("---- Parameters ----")
    for name, text in as_text(chosen).items():
        LOGGER.info("%s: %s", name, text)
