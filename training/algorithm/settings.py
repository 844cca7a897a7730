"""What the environment tells the two programs; read once, at the start, nowhere else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.algorithm.failure import CustomerError
from training.algorithm.paths import DEFAULT_BASE, Layout

BASE_DIR = "SAGEMAKER_BASE_DIR"
BIND_TO_PORT = "SAGEMAKER_BIND_TO_PORT"
MAX_PAYLOAD_IN_MB = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
TRAINING_JOB_NAME = "TRAINING_JOB_NAME"
CLASSES = "TOMODROP_CLASSES"
NORMALISER = "TOMODROP_NORMALISER"
DATA_DIGEST = "TOMODROP_DATA_DIGEST"
PIPE_TIMEOUT_SECONDS = "TOMODROP_PIPE_TIMEOUT_SECONDS"

DEFAULT_PORT = 8080
DEFAULT_MAX_PAYLOAD_MB = 6
UNLIMITED_PAYLOAD_MB = 100
"""SageMaker's 0 means no limit; a server still needs one, and 100 MB is AWS's own ceiling."""
DEFAULT_PIPE_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Environment of a training job; ``classes`` is empty when the job did not name them."""

    layout: Layout
    classes: tuple[str, ...]
    normaliser: str | None
    data_digest: str | None
    training_job: str | None
    pipe_timeout_s: float


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Environment of the inference server."""

    layout: Layout
    port: int
    max_payload_bytes: int


def layout_from(environment: Mapping[str, str]) -> Layout:
    """Return the ``/opt/ml`` tree this process works on."""
    return Layout(Path(environment.get(BASE_DIR) or DEFAULT_BASE))


def read_train_settings(environment: Mapping[str, str]) -> TrainSettings:
    """Read the environment of ``train``.

    :raises CustomerError: naming every variable that cannot be used.
    """
    faults: list[str] = []
    settings = TrainSettings(
        layout=layout_from(environment),
        classes=_class_names(environment.get(CLASSES), faults),
        normaliser=environment.get(NORMALISER) or None,
        data_digest=environment.get(DATA_DIGEST) or None,
        training_job=environment.get(TRAINING_JOB_NAME) or None,
        pipe_timeout_s=_number(environment, PIPE_TIMEOUT_SECONDS, DEFAULT_PIPE_TIMEOUT_S, faults),
    )
    _refuse(faults)
    return settings


def read_serve_settings(environment: Mapping[str, str]) -> ServeSettings:
    """Read the environment of ``serve``.

    :raises CustomerError: naming every variable that cannot be used.
    """
    faults: list[str] = []
    port = _number(environment, BIND_TO_PORT, DEFAULT_PORT, faults)
    payload_mb = _number(environment, MAX_PAYLOAD_IN_MB, DEFAULT_MAX_PAYLOAD_MB, faults)
    _refuse(faults)
    return ServeSettings(
        layout=layout_from(environment),
        port=int(port),
        max_payload_bytes=int((payload_mb or UNLIMITED_PAYLOAD_MB) * 1024 * 1024),
    )


def _refuse(faults: list[str]) -> None:
    if faults:
        raise CustomerError("environment variables cannot be used: " + " | ".join(faults))


def _class_names(text: str | None, faults: list[str]) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        faults.append(f'{CLASSES}={text!r}: give a JSON list of names, such as ["healthy","ill"]')
        return ()
    if len(set(names)) != len(names):
        faults.append(f"{CLASSES}={text!r}: each name may appear only once")
    return tuple(names)


def _number(environment: Mapping[str, str], name: str, default: float, faults: list[str]) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        faults.append(f"{name}={text!r}: give a number that is not negative")
        return default
    return value
