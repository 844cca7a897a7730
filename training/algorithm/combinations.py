"""Hyperparameters that are each in range and still do not go together."""

from collections.abc import Mapping
from typing import Any

PRETRAINED_DEPTH = 152
BALANCED = "balanced"
COSINE = "cosine"
CT = "ct"
FLOAT16 = "float16"


def joint_faults(values: Mapping[str, Any]) -> list[str]:
    """Faults of several values together; a value that is itself at fault is not there."""
    faults = [*_network_faults(values), *_schedule_faults(values)]
    top_k, classes = values.get("top_k"), values.get("num_classes")
    if top_k and classes and top_k > classes:
        faults.append(f"top_k={top_k} with num_classes={classes}: there are not that many")
    if values.get("class_weighting") == BALANCED and values.get("multi_label"):
        faults.append(
            "class_weighting=balanced with multi_label=1: set use_weighted_loss=1 instead"
        )
    if values.get("bf16") and values.get("precision_dtype") == FLOAT16:
        faults.append("bf16=1 with precision_dtype=float16: set one of them")
    return faults


def _network_faults(values: Mapping[str, Any]) -> list[str]:
    faults = []
    depth = values.get("num_layers", PRETRAINED_DEPTH)
    if values.get("use_pretrained_model") and depth != PRETRAINED_DEPTH:
        faults.append(
            f"use_pretrained_model=1 with num_layers={depth}: the CT weights are a "
            f"ResNet-{PRETRAINED_DEPTH}; set num_layers={PRETRAINED_DEPTH} "
            "or use_pretrained_model=0"
        )
    shape, resize = values.get("image_shape"), values.get("resize")
    if resize and shape and resize < max(shape[1:]):
        faults.append(
            f"resize={resize} with image_shape={','.join(map(str, shape))}: the shortest side "
            f"must hold image_shape; set resize to {max(shape[1:])} or more, or leave it unset"
        )
    if values.get("augmentation_type") and values.get("augmentation") == CT:
        faults.append(
            f"augmentation_type={values['augmentation_type']} with augmentation=ct: the first "
            "flips images, the second is there because CT must not be flipped; set one of them"
        )
    return faults


def _schedule_faults(values: Mapping[str, Any]) -> list[str]:
    faults = []
    if values.get("lr_schedule") == COSINE and values.get("lr_scheduler_step"):
        faults.append("lr_schedule=cosine with lr_scheduler_step: set one of them")
    warmup, epochs = values.get("warmup_epochs"), values.get("epochs")
    if warmup and epochs and warmup >= epochs:
        faults.append(f"warmup_epochs={warmup:g} with epochs={epochs}: nothing is left after it")
    return faults
