"""The hyperparameters of a job: strings in, one frozen object out, every fault named at once.

Names, defaults and ranges are those of SageMaker's built-in image classification. Extras of ours
change nothing unless they are set.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from training.algorithm.failure import HyperparameterError
from training.algorithm.rules import (
    Rule,
    choice,
    epoch_list,
    flag,
    image_shape,
    one_of_numbers,
    only,
    real,
    whole,
)

IMAGENET_DEPTHS = (18, 34, 50, 101, 152, 200)
SMALL_IMAGE_DEPTHS = (20, 32, 44, 56, 110)
PRETRAINED_DEPTH = 152
ALL_STAGES = 5
OFF = False
_AT_HOME = "is not offered by this algorithm: "


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """One job's hyperparameters, parsed; see ``RULES`` for meaning, default and range of each."""

    num_classes: int
    num_training_samples: int
    num_layers: int
    image_shape: tuple[int, int, int]
    epochs: int
    mini_batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    weight_decay: float
    beta_1: float
    beta_2: float
    eps: float
    gamma: float
    lr_scheduler_step: tuple[int, ...]
    lr_scheduler_factor: float
    early_stopping: bool
    early_stopping_min_epochs: int
    early_stopping_patience: int
    early_stopping_tolerance: float
    use_pretrained_model: bool
    augmentation_type: str | None
    checkpoint_frequency: int | None
    kv_store: str | None
    multi_label: bool
    precision_dtype: str
    resize: int | None
    top_k: int | None
    use_weighted_loss: bool
    augmentation: str
    label_smoothing: float
    trainable_stages: int
    probe: bool
    probe_c: float | None
    probe_views: int
    frozen_batch_norm: bool
    group_records: bool
    bad_record_share: float
    seed: int


RULES: dict[str, Rule] = {
    "num_classes": Rule(whole(2), None, "number of classes", required=True),
    "num_training_samples": Rule(
        whole(1), None, "number of images of one pass over train", required=True
    ),
    "num_layers": Rule(
        one_of_numbers(*IMAGENET_DEPTHS, *SMALL_IMAGE_DEPTHS),
        152,
        "depth of the ResNet",
        unbuilt=only(
            IMAGENET_DEPTHS, _AT_HOME + "use one of " + ", ".join(map(str, IMAGENET_DEPTHS))
        ),
    ),
    "image_shape": Rule(image_shape, (3, 224, 224), "channels, height and width in pixels"),
    "epochs": Rule(whole(1), 30, "passes over train, the probe included"),
    "mini_batch_size": Rule(whole(1), 32, "images per step"),
    "optimizer": Rule(
        choice("sgd", "adam", "rmsprop", "nag", "adamw"),
        "sgd",
        "rule of the step (adamw is an extra)",
    ),
    "learning_rate": Rule(real(0, 1), 0.1, "step length"),
    "momentum": Rule(real(0, 1), 0.9, "for sgd and nag"),
    "weight_decay": Rule(real(0, 1), 0.0001, "for sgd, nag and adamw"),
    "beta_1": Rule(real(0, 0.999999), 0.9, "for adam and adamw"),
    "beta_2": Rule(real(0, 0.999999), 0.999, "for adam and adamw"),
    "eps": Rule(real(0, 1), 1e-8, "for adam, adamw and rmsprop"),
    "gamma": Rule(real(0, 1), 0.9, "for rmsprop"),
    "lr_scheduler_step": Rule(
        epoch_list, (), "epochs from which learning_rate is multiplied by lr_scheduler_factor"
    ),
    "lr_scheduler_factor": Rule(real(0, 1), 0.1, "see lr_scheduler_step"),
    "early_stopping": Rule(flag, OFF, "end when validation accuracy no longer improves"),
    "early_stopping_min_epochs": Rule(whole(1), 10, "epochs before that may happen"),
    "early_stopping_patience": Rule(whole(1), 5, "epochs to wait for an improvement"),
    "early_stopping_tolerance": Rule(real(0, 1), 0.0, "smallest relative improvement that counts"),
    "use_pretrained_model": Rule(
        flag, OFF, "start from the CT weights (152 layers only), not from random ones"
    ),
    "augmentation_type": Rule(
        choice("crop", "crop_color", "crop_color_transform"),
        None,
        "not offered: it flips images",
        unbuilt=only((None,), _AT_HOME + 'leave it unset; augmentation="ct" is the one for CT'),
    ),
    "checkpoint_frequency": Rule(
        whole(1),
        None,
        "not offered: the best epoch is kept",
        unbuilt=only((None,), _AT_HOME + "leave it unset; the best epoch is stored"),
    ),
    "kv_store": Rule(
        choice("dist_sync", "dist_async"), None, "only for several hosts; no effect on one"
    ),
    "multi_label": Rule(
        flag,
        OFF,
        "not offered",
        unbuilt=only((False,), _AT_HOME + "each image has exactly one class"),
    ),
    "precision_dtype": Rule(
        choice("float32", "float16"),
        "float32",
        "float32 only",
        unbuilt=only(("float32",), _AT_HOME + "use float32"),
    ),
    "resize": Rule(whole(1), None, "only a no-op is offered: the side of a square image_shape"),
    "top_k": Rule(whole(2), None, "also log the share of images whose class is among the k best"),
    "use_weighted_loss": Rule(flag, OFF, "only with multi_label in the built-in, so no effect"),
    "augmentation": Rule(
        choice("none", "ct"),
        "none",
        '"ct": small turns, shifts, scale, window, sharpness and noise; no flips',
        ours=True,
    ),
    "label_smoothing": Rule(real(0, 0.5), 0.0, "share of each label spread evenly", ours=True),
    "trainable_stages": Rule(
        whole(0, ALL_STAGES),
        ALL_STAGES,
        "how many of the network's 5 stages learn, counted from the end; 0 = the head only",
        ours=True,
    ),
    "probe": Rule(
        flag,
        None,
        "epoch 0 fits the head on frozen features; unset = as use_pretrained_model",
        ours=True,
    ),
    "probe_c": Rule(
        real(0, 1e6, open_low=True),
        None,
        "inverse strength of the probe's penalty; unset = chosen by validation loss",
        ours=True,
    ),
    "probe_views": Rule(
        whole(1, 16), 1, "passes of the probe; those after the first are augmented", ours=True
    ),
    "frozen_batch_norm": Rule(
        flag, None, "keep batch-norm as it starts; unset = as probe", ours=True
    ),
    "group_records": Rule(
        flag,
        OFF,
        "each sample of an augmented manifest carries a third record, the name of its group",
        ours=True,
    ),
    "bad_record_share": Rule(
        real(0, 1),
        0.0,
        "largest share of a pass that may hold no usable image and is left out; 0 = none",
        ours=True,
    ),
    "seed": Rule(whole(0, 2**31 - 1), 0, "of every random choice", ours=True),
}


def load_hyperparameters(path: Path) -> Hyperparameters:
    """Read ``hyperparameters.json``.

    :raises HyperparameterError: with every fault, see :func:`read_hyperparameters`.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise HyperparameterError([f"{path} is missing"]) from None
    except ValueError as error:
        raise HyperparameterError([f"{path} is not JSON: {error}"]) from error
    if not isinstance(content, dict):
        raise HyperparameterError([f"{path} must hold a JSON object"])
    return read_hyperparameters(content)


def read_hyperparameters(given: Mapping[str, Any]) -> Hyperparameters:
    """Parse ``given``; names that start with "_" are SageMaker's own and left alone.

    :raises HyperparameterError: naming all unknown names, missing names and bad values at once.
    """
    given = {name: text for name, text in given.items() if not name.startswith("_")}
    faults = [f"{name}={given[name]!r}: there is no such name" for name in given.keys() - RULES]
    values: dict[str, Any] = {}
    for name, rule in RULES.items():
        try:
            values[name] = _read_one(given.get(name, ""), rule)
        except ValueError as error:
            faults.append(f"{name}={given.get(name)!r}: {error}")
    faults += _joint_faults(values)
    if faults:
        raise HyperparameterError(sorted(faults))
    return Hyperparameters(**_with_derived_defaults(values))


def _read_one(text: Any, rule: Rule) -> Any:
    if not isinstance(text, str):
        raise ValueError("must be a string")  # noqa: TRY004  # one kind for all faults
    if not text.strip():
        if rule.required:
            raise ValueError("is required")
        return rule.default
    try:
        value = rule.parse(text.strip())
    except ValueError as error:
        raise ValueError(f"must be {error}") from None
    refusal = rule.unbuilt(value)
    if refusal:
        raise ValueError(refusal)
    return value


def _joint_faults(values: Mapping[str, Any]) -> list[str]:
    """Faults of several values together; a value that is itself at fault is not there."""
    faults = []
    depth = values.get("num_layers", PRETRAINED_DEPTH)
    if values.get("use_pretrained_model") and depth != PRETRAINED_DEPTH:
        faults.append(
            f"use_pretrained_model=1 with num_layers={depth}: the CT weights are a "
            f"ResNet-{PRETRAINED_DEPTH}; set num_layers={PRETRAINED_DEPTH} "
            "or use_pretrained_model=0"
        )
    shape, resize = values.get("image_shape"), values.get("resize")
    if resize and shape and shape[1:] != (resize, resize):
        faults.append(
            f"resize={resize} with image_shape={','.join(map(str, shape))}: images are brought "
            "to image_shape as they are when serving; leave resize unset"
        )
    top_k, classes = values.get("top_k"), values.get("num_classes")
    if top_k and classes and top_k > classes:
        faults.append(f"top_k={top_k} with num_classes={classes}: there are not that many")
    return faults


def _with_derived_defaults(values: dict[str, Any]) -> dict[str, Any]:
    if values["probe"] is None:
        values["probe"] = values["use_pretrained_model"]
    if values["frozen_batch_norm"] is None:
        values["frozen_batch_norm"] = values["probe"]
    return values


def as_text(hyperparameters: Hyperparameters) -> dict[str, str]:
    """Return the values as strings that parse to the same object; unset ones are left out."""
    texts = {}
    for field in fields(hyperparameters):
        value = getattr(hyperparameters, field.name)
        if value is None or value == ():
            continue
        if isinstance(value, bool):
            value = int(value)
        texts[field.name] = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return texts


def class_names(chosen: Hyperparameters, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes in index order: those given, or "0", "1", ….

    :raises HyperparameterError: when the job names another number of classes than num_classes.
    """
    if given and len(given) != chosen.num_classes:
        raise HyperparameterError(
            [f"num_classes={chosen.num_classes}, but the job names {len(given)} classes: {given}"]
        )
    return given or tuple(map(str, range(chosen.num_classes)))
