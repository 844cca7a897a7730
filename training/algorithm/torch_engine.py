"""The network in PyTorch: on a GPU, and wherever a model has no exported network."""

import threading
from pathlib import Path

import torch

from training.algorithm.artefact import load_model
from training.algorithm.class_map import class_maps, pool
from training.algorithm.engines import Levels, Outputs
from training.algorithm.failure import ArtefactError
from training.algorithm.hardware import choose_device
from training.algorithm.images import Scaling
from training.algorithm.model import Classifier, build_resnet


class TorchEngine:
    """See :class:`Engine`."""

    def __init__(self, classifier: Classifier, scaling: Scaling, cores: int) -> None:
        self._device = choose_device()
        self._network = ServedNetwork(classifier.eval().place_on(self._device), scaling)
        # One call at a time: each uses all cores. The others decode meanwhile.
        self._turn = threading.Lock()
        torch.set_num_threads(cores)
        self.name = f"PyTorch on {self._device.type}"
        self.workers = cores + 1

    def run(self, images: Levels) -> Outputs:
        """Answer for images (N, H, W, C)."""
        with self._turn, torch.inference_mode():
            outputs = self._network(torch.tensor(images).to(self._device))
            return Outputs(*(output.cpu().numpy() for output in outputs))


class ServedNetwork(torch.nn.Module):
    """Grey levels (N, H, W, C; uint8) to scores, features and maps, as in :class:`Outputs`."""

    def __init__(self, classifier: Classifier, scaling: Scaling) -> None:
        super().__init__()
        self.classifier = classifier
        self._scaling = scaling

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Answer for each of the images."""
        stage_maps = self.classifier.stage_maps(self._scaling.to_input(images.permute(0, 3, 1, 2)))
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
