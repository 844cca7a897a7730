"""The network as a GPU runs it fastest: bfloat16, batch norms folded, all kernels in one launch."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.algorithm.engines import Levels
from training.algorithm.log import LOGGER
from training.algorithm.model import Classifier

_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""Convolutions and the norms behind them, by name; the last are those of a shortcut."""
_WARM_UP = 3
"""Calls before a capture: libraries choose their kernels and set their memory aside in them."""


def speed_up(classifier: Classifier) -> Classifier:
    """Return it with norms folded into the convolutions before them, which compute in bfloat16.

    Its answers are as far from float32's as those of mixed precision. The network is changed: what
    is given cannot be used any more.
    """
    folded = fold_norms(classifier)
    for module in folded.modules():
        if isinstance(module, nn.Conv2d):
            module.to(torch.bfloat16)
    return folded


def fold_norms(classifier: Classifier) -> Classifier:
    """Return it without batch norms, which would read and write every map once more.

    The network is changed: what is given cannot be used any more.
    """
    resnet = classifier.resnet
    for module in list(resnet.modules()):
        for convolution, norm in _PAIRS:
            _fold(module, convolution, norm)
    return Classifier(
        resnet,
        trainable_stages=0,
        frozen_batch_norm=True,
        head_stages=classifier.head_stages,
    ).eval()


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    before, behind = (dict(module.named_children()).get(name) for name in (convolution, norm))
    if isinstance(before, nn.Conv2d) and isinstance(behind, nn.BatchNorm2d):
        setattr(module, convolution, fuse_conv_bn_eval(before, behind))
        setattr(module, norm, nn.Identity())


class Captured:
    """A network with its kernels recorded as a CUDA graph, for images of one shape (N, H, W, C).

    A ResNet-152 launches some 500 kernels per call; for a few images, launching takes longer than
    computing. Where the driver refuses to record, the network is called as ever.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
        self._network = network
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        torch.backends.cudnn.benchmark = True  # the shape never changes
        try:
            self._record()
        except RuntimeError as error:
            LOGGER.warning("The network's kernels cannot be recorded, each is launched: %s", error)
            self._graph = None

    def __call__(self, images: Levels) -> tuple[torch.Tensor, ...]:
        """Return the network's outputs; they hold until the next call."""
        self._images.copy_(torch.from_numpy(images))
        if self._graph is None:
            outputs: tuple[torch.Tensor, ...] = self._network(self._images)
            return outputs
        self._graph.replay()
        return self._outputs

    def _record(self) -> None:
        """As PyTorch's documentation has it ("CUDA Graphs")."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._network(self._images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs: tuple[torch.Tensor, ...] = self._network(self._images)
        self._graph = graph
