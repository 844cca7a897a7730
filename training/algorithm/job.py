"""One training job, once its request has been checked: build, fit, keep."""

import threading
from pathlib import Path

import torch
from torch import nn

from training.algorithm.acquaintance import summarise
from training.algorithm.channels import MODEL, TRAIN, VALIDATION, Inputs, check_channels
from training.algorithm.checkpoints import Checkpoints, find_checkpoints
from training.algorithm.combinations import CT
from training.algorithm.cpu import count_cores
from training.algorithm.data import Channel, Feed
from training.algorithm.distributed import ALONE, Team, assemble
from training.algorithm.export import export
from training.algorithm.failure import HyperparameterError
from training.algorithm.fit import fit
from training.algorithm.hardware import choose_device, mixed_precision
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
from training.algorithm.place import Place
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
    place: Place = ALONE,
) -> None:
    """Train, and leave model and metrics where SageMaker looks for them.

    :raises JobFailedError: for whatever the channels, the weights or a stop bring.
    """
    _log_parameters(chosen)
    _check_parts(chosen, place)
    torch.manual_seed(chosen.seed)
    torch.set_num_threads(max(1, count_cores() // place.local_size))
    with assemble(place) as team:
        run, start = _build(chosen, settings, classes, stop, team)
        checkpoints = find_checkpoints(settings, chosen, classes)
        past = _resume(checkpoints, run, settings.layout.model)
        if not place.is_main:
            fit(run, _ignore, _ignore, _ignore, past)
            return
        outcome = Outcome(run, settings, classes, start)
        _learn(run, outcome, checkpoints, past, settings.layout.model)


def _learn(
    run: Run, outcome: Outcome, checkpoints: Checkpoints | None, past: Past | None, model: Path
) -> None:
    """Learn and keep what comes of it; this is the first process, or the only one."""

    def on_epoch(result: EpochResult) -> None:
        outcome.keep_metrics(result)
        every = run.chosen.checkpoint_frequency
        if every and (result.epoch + 1) % every == 0:
            outcome.keep_checkpoint(result)

    def on_state(history: History, learner: Learner | None) -> None:
        if checkpoints:
            checkpoints.save(gather(run, history, learner, model))

    for result in past.history.results if past else ():
        outcome.keep_metrics(result)
    history = fit(run, on_epoch, outcome.keep_model, on_state, past)
    export(run, model)
    summarise(run, model)
    outcome.conclude(history)


def _ignore(*_arguments: object) -> None:
    """Keep nothing: that is the first process's part."""


def _check_parts(chosen: Hyperparameters, place: Place) -> None:
    least = 2 * place.local_size
    if place.size > 1 and chosen.mini_batch_size < least:
        fault = (
            f"mini_batch_size={chosen.mini_batch_size} is split over {place.local_size} "
            f"processes of this host: set it to {least} or more"
        )
        raise HyperparameterError([fault])


def _resume(checkpoints: Checkpoints | None, run: Run, model: Path) -> Past | None:
    """Bring everything to where an interrupted run of the same job was; None: from the start."""
    # The first process's checkpoint counts: another host may have none, or an older one.
    state = run.team.lead(lambda: checkpoints.load() if checkpoints else None)
    if state is None:
        return None
    past = restore(state, run, model if run.team.place.is_main else None)
    LOGGER.info("Resuming after Epoch[%d]", len(past.history.results) - 1)
    return past


def _build(
    chosen: Hyperparameters,
    settings: TrainSettings,
    classes: tuple[str, ...],
    stop: threading.Event,
    team: Team,
) -> tuple[Run, str]:
    """Return all that the loop needs, and where the weights started from."""
    inputs = check_channels(settings.layout, group_records=chosen.group_records)
    resnet = build_resnet(
        chosen.num_layers, chosen.image_shape[0], chosen.num_classes, chosen.head_stages
    )
    start = _load_start(resnet, inputs, chosen, settings, classes)
    device = choose_device(team.place.local_rank)
    if device.type == "cuda" and team.place.size > 1:
        # Its statistics are those of the whole batch; PyTorch has it for GPUs only.
        nn.SyncBatchNorm.convert_sync_batchnorm(resnet)  # type: ignore[no-untyped-call]
    classifier = Classifier(
        resnet,
        chosen.trainable_stages,
        frozen_batch_norm=chosen.frozen_batch_norm,
        mixed=mixed_precision(chosen, device),
        head_stages=chosen.head_stages,
    )
    classifier.place_on(device)
    feed = _feed(chosen, settings, stop)
    channels = Channel(TRAIN, feed, inputs.train), Channel(VALIDATION, feed, inputs.validation)
    run = Run(chosen, classifier, Scaling(), device, *channels, team=team, stop=stop)
    return run, start


def _feed(chosen: Hyperparameters, settings: TrainSettings, stop: threading.Event) -> Feed:
    return Feed(
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


def _load_start(
    resnet: Network,
    inputs: Inputs,
    chosen: Hyperparameters,
    settings: TrainSettings,
    classes: tuple[str, ...],
) -> str:
    if inputs.has_model:
        return load_starting_model(resnet, settings.layout.channel(MODEL), chosen, classes)
    return load_ct_weights(resnet) if chosen.use_pretrained_model else START_FROM_NOISE


def _log_parameters(chosen: Hyperparameters) -> None:
    LOGGER.info("---- Parameters ----")
    for name, text in as_text(chosen).items():
        LOGGER.info("%s: %s", name, text)
