"""Other ways to serve the same network on the same cores, for `benchmarks.serving` to compare with.

    python -m benchmarks.peers litserve-torch|litserve-openvino|onnxruntime MODEL_FOLDER PORT

LitServe as its own documentation has it: it decodes in `decode_request` and batches in its worker.
ONNX Runtime stands behind the HTTP server that ours has, so that only the library differs.
They are installed by `benchmarks/requirements.txt`, beside what running needs (`make setup-bench`).
"""

import argparse
import base64
import tempfile
from pathlib import Path
from typing import Any

import litserve as ls  # type: ignore[import-not-found]  # it is where the benchmark runs
import numpy as np
import torch

from training.algorithm.artefact import AS_LEARNED, QUANTISED, find_openvino, read_description
from training.algorithm.cpu import count_cores
from training.algorithm.engines import Levels, Outputs
from training.algorithm.images import decode_image
from training.algorithm.inference import Predictor
from training.algorithm.openvino_library import load_openvino
from training.algorithm.precision import INT8
from training.algorithm.probabilities import softmax
from training.algorithm.serve import Server
from training.algorithm.torch_engine import ServedNetwork, load_classifier

LITSERVE_TORCH, LITSERVE_OPENVINO = "litserve-torch", "litserve-openvino"
ONNXRUNTIME = "onnxruntime"
KINDS = (LITSERVE_TORCH, LITSERVE_OPENVINO, ONNXRUNTIME)
BATCH = 8
BATCH_WAIT_S = 0.02


class Api(ls.LitAPI):  # type: ignore[misc]
    """LitServe's part: JSON with the picture in base64, as its documentation sends pictures."""

    def __init__(self, kind: str, folder: Path) -> None:
        # OpenVINO gains nothing by batches on a CPU, PyTorch does.
        batch = BATCH if kind == LITSERVE_TORCH else 1
        super().__init__(max_batch_size=batch, batch_timeout=BATCH_WAIT_S)
        self._kind, self._folder = kind, folder
        self._shape = read_description(folder).image_shape

    def setup(self, device: str) -> None:
        """Load the network in LitServe's worker."""
        del device
        make = torch_batch if self._kind == LITSERVE_TORCH else openvino_batch
        self._answer = make(self._folder)

    def decode_request(self, request: dict[str, str]) -> Levels:
        """From the body to grey levels."""
        return decode_image(base64.b64decode(request["image"]), self._shape)

    def batch(self, inputs: list[Levels]) -> Levels:
        """One array of several."""
        return np.stack(inputs)

    def predict(self, images: Levels) -> Any:
        """Answer a batch (N, H, W, C), or one (H, W, C)."""
        return softmax(self._answer(images if images.ndim == 4 else images[None]))

    def unbatch(self, output: Any) -> list[Any]:
        """An answer for each."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, list[float]]:
        """To JSON."""
        return {"prediction": np.ravel(output).tolist()}


def litserve(kind: str, folder: Path, port: int) -> None:
    """Serve by LitServe."""
    server = ls.LitServer(Api(kind, folder), accelerator="cpu", workers_per_device=1, timeout=120)
    server.run(port=port, generate_client_file=False, log_level="warning")


def torch_batch(folder: Path) -> Any:
    """Return a function from a batch to scores, eager fp32."""
    torch.set_num_threads(count_cores())
    classifier, scaling = load_classifier(folder)
    network = ServedNetwork(classifier.place_on(torch.device("cpu")), scaling)

    def answer(images: Levels) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(images))[0].numpy()

    return answer


def openvino_batch(folder: Path) -> Any:
    """Return a function from a batch of one to scores: the network that `serve` runs."""
    openvino = load_openvino()
    precision = (read_description(folder).serving or {})["precision"]
    graph = find_openvino(folder, QUANTISED if precision == INT8 else AS_LEARNED)
    compiled = openvino.Core().compile_model(graph, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda images: compiled(images)[0]


class OnnxEngine:
    """See `training.algorithm.engines.Engine`."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime  # type: ignore[import-not-found]  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count_cores()
        with tempfile.TemporaryDirectory() as made:
            path = Path(made) / "network.onnx"
            to_onnx(folder, path)
            self._session = onnxruntime.InferenceSession(path, options)
        self.name = "ONNX Runtime"
        self.workers = count_cores() + 1

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C)."""
        return Outputs(*self._session.run(None, {"images": images}))


def to_onnx(folder: Path, path: Path) -> None:
    """Write the network as it was learned, for one image."""
    channels, height, width = read_description(folder).image_shape
    one = torch.zeros(1, height, width, channels, dtype=torch.uint8)
    network = ServedNetwork(*load_classifier(folder)).eval()
    torch.onnx.export(network, (one,), str(path), input_names=["images"], dynamo=False)


def onnx_runtime(folder: Path, port: int) -> None:
    """Serve by ONNX Runtime behind our own HTTP server."""
    import uvicorn  # noqa: PLC0415

    predictor = Predictor(read_description(folder), OnnxEngine(folder))
    app = Server(predictor, 6 * 1024 * 1024).app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    if given.kind == ONNXRUNTIME:
        onnx_runtime(given.folder, given.port)
    else:
        litserve(given.kind, given.folder, given.port)


if __name__ == "__main__":
    main()
