"""The hyperparameters of a job: strings in, one frozen object out, every fault named at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from training.algorithm.combinations import joint_faults
from training.algorithm.failure import HyperparameterError
from training.algorithm.rules import Rule
from training.algorithm.table import RULES


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
    mixup: float
    class_weighting: str
    trainable_stages: int
    head_stages: int
    stage_rate_factor: float
    frozen_batch_norm: bool
    probe: bool
    probe_c: float | None
    probe_views: int
    lr_schedule: str
    warmup_epochs: float
    ema: float
    start_share: float
    bf16: bool
    group_records: bool
    bad_record_share: float
    serving_precision: str
    seed: int


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
    faults += joint_faults(values)
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
        return rule.parse(text.strip())
    except ValueError as error:
        raise ValueError(f"must be {error}") from None


def _with_derived_defaults(values: dict[str, Any]) -> dict[str, Any]:
    if values["multi_label"]:
        values["top_k"] = None  # several classes of an image may be right: there is no k-th best
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
