"""The exported network on a CPU: one image per request, as many at a time as there are streams.

An image never shares a batch, so its answer depends on nothing but itself.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from training.algorithm.engines import Floats, Levels, Outputs
from training.algorithm.failure import ArtefactError
from training.algorithm.openvino_library import load_openvino
from training.algorithm.precision import BF16, FP32, INT8

_HINTS = {FP32: "f32", BF16: "bf16", INT8: "f32"}
"""What the layers compute in that have no whole numbers."""
_AHEAD = 2
"""Requests per stream: the next image waits in the library while its thread decodes another."""


class OpenvinoEngine:
    """See :class:`Engine`."""

    def __init__(self, network: Path | Any, precision: str, cores: int) -> None:
        """``network``: a path of an ``.xml`` file, or a model in memory.

        :raises ArtefactError: when OpenVINO cannot read it.
        """
        openvino = load_openvino()
        options = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": cores,
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        try:
            compiled = openvino.Core().compile_model(network, "CPU", options)
        except RuntimeError as error:
            raise ArtefactError(f"OpenVINO cannot load the exported network: {error}") from error
        self._tensor = openvino.Tensor
        streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.name = f"OpenVINO, {precision}, {streams} streams on {cores} cores"
        self.workers = _AHEAD * streams
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.workers):
            self._requests.put(compiled.create_infer_request())

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C)."""
        if len(images) == 1:
            return Outputs(*self._run_one(images))
        with ThreadPoolExecutor(self.workers) as pool:
            parts = list(pool.map(self._run_one, np.split(images, len(images))))
        return Outputs(*map(np.concatenate, zip(*parts, strict=True)))

    def _run_one(self, image: Levels) -> tuple[Floats, ...]:
        request = self._requests.get()
        try:
            request.set_input_tensor(self._tensor(np.ascontiguousarray(image)))
            request.start_async()
            request.wait()
            # Copies: the next image overwrites what the request holds.
            return tuple(tensor.data.copy() for tensor in request.output_tensors)
        finally:
            self._requests.put(request)
