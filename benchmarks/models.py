"""Models and slices for benchmarks that do not depend on what a network learned."""

import io
import threading
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.algorithm.architectures import ARCHITECTURES
from training.algorithm.artefact import (
    AS_LEARNED,
    GRAPH,
    NUMBERS,
    QUANTISED,
    ModelDescription,
    add_openvino,
    save_model,
)
from training.algorithm.export import convert, quantise
from training.algorithm.images import Scaling
from training.algorithm.model import build_resnet
from training.algorithm.openvino_library import load_openvino
from training.algorithm.precision import INT8

SHAPE = (3, 224, 224)


def slices(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth grey pictures, which compress about as well as slices do."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (28, 28), dtype=np.uint8))
        large = np.asarray(small.resize(SHAPE[:0:-1], Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (large + random.integers(-4, 5, large.shape)).clip(0, 255).astype(np.uint8)
        pictures.append(np.repeat(noisy[:, :, None], 3, axis=2))
    return pictures


def encode(pixels: np.ndarray) -> bytes:
    """As intake writes them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def prepare(layers: int, base: Path, precision: str | None) -> Path:
    """Write a model of random weights, with ``precision`` its export too. Returns its folder."""
    folder = base / "model"
    description = ModelDescription(
        ARCHITECTURES[layers], layers, ("0", "1"), SHAPE, Scaling(), *(None, None), "benchmark",
        "random", metrics={}, hyperparameters={}, created_at="",
    )  # fmt: skip
    torch.manual_seed(0)
    save_model(folder, description, build_resnet(layers, 3, 2).state_dict())
    if precision is None:
        return folder
    network, name = convert(folder, SHAPE), AS_LEARNED
    if precision == INT8:
        given, name = np.stack(slices(16)), QUANTISED
        network = quantise(network, given, threading.Event(), careful=False)
    made = base / (name + GRAPH)
    load_openvino().save_model(network, made, compress_to_fp16=True)
    files = {name + end: made.with_suffix(end) for end in (GRAPH, NUMBERS)}
    add_openvino(folder, files, {"precision": precision, "kept": [precision]})
    return folder
