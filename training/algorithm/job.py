"""One training job, once its request has been checked: build, fit, keep."""

import threading
from pathlib import Path

import torch

from training.algorithm.channels import MODEL, TRAIN, VALIDATION, Inputs, check_channels
from training.algorithm.checkpoints import Checkpoints, find_checkpoints
from training.algorithm.combinations import CT
from training.algorithm.data import Channel, Feed
from training.algorithm.failure import ChannelConfigError
from training.algorithm.fit import fit
from training.algorithm.hardware import choose_device, count_cores, mixed_precision
from training.algorithm.history import History
from training.algorithm.hyperparameters import Hyperparameters, as_text
from training.algorithm.images import Scaling
from training.algorithm.learner import Learner
from training.algorithm.log import LOGGER
from training.algorithm.metrics import EpochResult
from training.algorithm.model import Classifier, Network, build_resnet
from training.algorithm.outcome import Outcome
from training.algorithm.passes import Run
from training.algorithm.pipe import Patience
from training.algorithm.resuming import Past, gather, restore
from training.algorithm.settings import TrainSettings
from training.algorithm.starting_model import load_starting_model
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
    run, start = _build(chosen, settings, classes, stop)
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
    chosen: Hyperparameters,
    settings: TrainSettings,
    classes: tuple[str, ...],
    stop: threading.Event,
) -> tuple[Run, str]:
    """Return all that the loop needs, and where the weights started from."""
    inputs = check_channels(settings.layout, group_records=chosen.group_records)
    resnet = build_resnet(chosen.num_layers, chosen.image_shape[0], chosen.num_classes)
    start = _load_start(resnet, inputs, chosen, settings, classes)
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
        multi_label=chosen.multi_label,
        group_records=chosen.group_records,
        bad_record_share=chosen.bad_record_share,
    )
    channels = Channel(TRAIN, feed, inputs.train), Channel(VALIDATION, feed, inputs.validation)
    return Run(chosen, classifier, Scaling(), device, *channels), start


def _load_start(
    resnet: Network,
    inputs: Inputs,
    chosen: Hyperparameters,
    settings: TrainSettings,
    classes: tuple[str, ...],
) -> str:
    if inputs.has_model and chosen.use_pretrained_model:
        raise ChannelConfigError(
            f"use_pretrained_model=1 with a channel {MODEL!r}: a network starts from one of them; "
            "set use_pretrained_model=0 or leave the channel out"
        )
    if inputs.has_model:
        return load_starting_model(resnet, settings.layout.channel(MODEL), chosen, classes)
    return load_ct_weights(resnet) if chosen.use_pretrained_model else START_FROM_NOISE


def _log_parameters(chosen: Hyperparameters) -> None:
    LOGGER.info("---- Parameters ----")
    for name, text in as_text(chosen).items():
        LOGGER.info("%s: %s", name, text)
