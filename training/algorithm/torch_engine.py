"""The network in PyTorch: on a GPU, and wherever a model has no exported network."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch

from training.algorithm.artefact import load_model
from training.algorithm.class_map import class_maps, pool
from training.algorithm.engines import Levels, Outputs
from training.algorithm.failure import ArtefactError
from training.algorithm.gpu_network import Captured, speed_up
from training.algorithm.hardware import choose_device
from training.algorithm.images import Scaling
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.shared_batches import SharedBatches

Shape: TypeAlias = tuple[int, int, int]

BATCH = 8
"""Images per call on a GPU. A batch transform has at most 16 requests under way with SageMaker's
default payload: one half is computed while the other is fetched and decoded."""
BATCH_WAIT_S = 0.002


class TorchEngine:
    """See :class:`Engine`. One thread runs the network: on a CPU, each call uses all cores."""

    def __init__(
        self, classifier: Classifier, scaling: Scaling, image_shape: Shape, cores: int
    ) -> None:
        """``image_shape``: (C, H, W)."""
        device = choose_device()
        placed = classifier.eval().place_on(device)
        torch.set_num_threads(cores)
        if device.type == "cuda":
            network = ServedNetwork(speed_up(placed), scaling)
            answer, size = on_gpu(network, image_shape, device), BATCH
        else:
            answer, size = on_cpu(ServedNetwork(placed, scaling)), 1
        self._batches = SharedBatches(answer, size=size, longest_wait_s=BATCH_WAIT_S)
        self.name = f"PyTorch on {device.type}, {size} images at a time"
        self.workers = 2 * size if size > 1 else cores + 1

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C)."""
        return self._batches.run(images)


def on_cpu(network: "ServedNetwork") -> Callable[[Levels], Outputs]:
    """Return what answers for images (N, H, W, C) in float32."""

    def answer(images: Levels) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(output.numpy() for output in network(torch.from_numpy(images))))

    return answer


def on_gpu(
    network: "ServedNetwork", image_shape: Shape, device: torch.device
) -> Callable[[Levels], Outputs]:
    """Return what answers for BATCH images (N, H, W, C) in bfloat16."""
    channels, height, width = image_shape
    with torch.inference_mode():
        captured = Captured(network, (BATCH, height, width, channels), device)

    def answer(images: Levels) -> Outputs:
        with torch.inference_mode():
            # To the CPU at once: the next batch overwrites what they are in.
            return Outputs(*(output.cpu().numpy() for output in captured(images)))

    return answer


class ServedNetwork(torch.nn.Module):
    """Grey levels (N, H, W, C; uint8) to scores, features and maps, as in :class:`Outputs`."""

    def __init__(self, classifier: Classifier, scaling: Scaling) -> None:
        super().__init__()
        self.classifier = classifier
        self._scaling = scaling

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Answer for each of the images."""
        inputs = self._scaling.to_input(images.permute(0, 3, 1, 2))
        stage_maps = self.classifier.stage_maps(inputs.to(self.classifier.computes_in))
        features = pool(stage_maps)
        head = self.classifier.head
        return head(features), features, class_maps(stage_maps, head.weight)


def load_classifier(folder: Path) -> tuple[Classifier, Scaling]:
    """Load what ``train`` left, to answer with.

    :raises ArtefactError: when it is incomplete, altered, or does not fit its description.
    """
    description, state = load_model(folder)
    channels, num_classes = description.image_shape[0], len(description.classes)
    stages = description.head_stages
    resnet = build_resnet(description.num_layers, channels, num_classes, stages)
    try:
        resnet.load_state_dict(state)
    except RuntimeError as error:
        raise ArtefactError(f"the weights in {folder} do not fit: {error}") from error
    classifier = Classifier(resnet, trainable_stages=0, frozen_batch_norm=True, head_stages=stages)
    return classifier.eval(), description.scaling
