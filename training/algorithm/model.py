"""The network: a ResNet in two dimensions, cut into stages that learn or stay."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

from training.algorithm.class_map import pool
from training.algorithm.small_resnet import SmallResNet

BLOCKS: dict[int, tuple[str, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
    200: ("bottleneck", (3, 24, 36, 3)),
}
"""Depth → kind of block, and how many in each of the last four stages."""

WIDTHS = [64, 128, 256, 512]

Network: TypeAlias = ResNet | SmallResNet

_BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


def build_resnet(num_layers: int, channels: int, num_classes: int, head_stages: int = 1) -> Network:
    """Return a randomly initialised 2-D ResNet with torchvision's layer names.

    Its head takes the pooled features of the last ``head_stages`` stages side by side; with more
    than one, :class:`Classifier` is what runs it.

    MONAI's own ``resnet34`` and the like are not used: their first stride of 1 quadruples all
    work behind it and is not ResNet, and their parameter-free shortcuts pass no gradient.
    """
    if num_layers not in BLOCKS:
        return _widen_head(SmallResNet(num_layers, channels, num_classes), head_stages)
    block, layers = BLOCKS[num_layers]
    resnet = ResNet(
        block,
        list(layers),
        WIDTHS,
        spatial_dims=2,
        n_input_channels=channels,
        num_classes=num_classes,
        conv1_t_stride=2,
        bias_downsample=False,
    )
    return _widen_head(resnet, head_stages)


class Classifier(nn.Module):
    """A ResNet of which the last ``trainable_stages`` of its stages learn (0: the head only).

    The stages are the stem and the groups of residual blocks. The frozen ones run without
    a gradient and with the batch-norm statistics they have; with ``frozen_batch_norm`` the
    learning ones keep theirs as well. ``mixed`` is what convolutions compute in, if not float32.
    The head sees the last ``head_stages`` stages, as :func:`build_resnet` made it.
    """

    def __init__(
        self,
        resnet: Network,
        trainable_stages: int,
        *,
        frozen_batch_norm: bool,
        mixed: torch.dtype | None = None,
        head_stages: int = 1,
    ) -> None:
        super().__init__()
        self.resnet = resnet
        stages = _stages(resnet)
        self.head_stages = head_stages
        cut = max(0, len(stages) - trainable_stages)
        # Plain lists: the modules belong to ``resnet`` and must not be registered twice.
        self._frozen: list[nn.Module] = stages[:cut]
        self._learning: list[nn.Module] = stages[cut:]
        self._frozen_batch_norm = frozen_batch_norm
        self._mixed = mixed
        for parameter in self._fixed_parameters():
            parameter.requires_grad = False

    @property
    def needs_scaled_loss(self) -> bool:
        """Whether gradients would vanish in what convolutions compute in (float16)."""
        return self._mixed is torch.float16

    @property
    def computes_in(self) -> torch.dtype:
        """What the first convolution expects: float32 until :mod:`gpu_network` changed it."""
        dtype: torch.dtype = self.resnet.conv1.weight.dtype
        return dtype

    @property
    def head(self) -> nn.Linear:
        """The last layer: features → one score per class."""
        head = self.resnet.fc
        if not isinstance(head, nn.Linear):
            raise TypeError("the network has no linear head")
        return head

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return what the head sees, (N, features) float32, for float32 inputs (N, C, H, W)."""
        return pool(self.stage_maps(inputs))

    def stage_maps(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return what is pooled for the head: a float32 map (N, C, h, w) per stage it sees."""
        with self._precision(inputs):
            with torch.no_grad():
                maps = _run_stages(self._frozen, inputs)
            maps += _run_stages(self._learning, maps[-1] if maps else inputs)
        return [maps_of_stage.float() for maps_of_stage in maps[-self.head_stages :]]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scores before softmax, (N, classes)."""
        scores: torch.Tensor = self.head(self.features(inputs))
        return scores

    def train(self, mode: bool = True) -> "Classifier":  # noqa: FBT001, FBT002  # as nn.Module
        """Switch to learning, except what is frozen."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        if self._frozen_batch_norm:
            for module in self.modules():
                if isinstance(module, _BATCH_NORMS):
                    module.eval()
        return self

    def place_on(self, device: torch.device) -> "Classifier":
        """Move to ``device``, kernels in the memory order that convolutions are fastest in."""
        self.to(device)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def learning_parameters(self) -> list[nn.Parameter]:
        """Return the parameters an optimizer may change."""
        return [p for p in self.resnet.parameters() if p.requires_grad]

    def learning_groups(self) -> list[list[nn.Parameter]]:
        """Return the same by distance from the output: the head, the last stage, and so on."""
        parts = [self.head, *reversed(self._learning)]
        groups = [[p for p in part.parameters() if p.requires_grad] for part in parts]
        return [group for group in groups if group]

    def learning_statistics(self) -> list[torch.Tensor]:
        """Return the batch-norm means and variances that training changes."""
        return [
            buffer
            for stage in self._learning
            for module in stage.modules()
            if isinstance(module, _BATCH_NORMS) and not self._frozen_batch_norm
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]

    def _precision(self, inputs: torch.Tensor) -> AbstractContextManager[Any]:
        dtype = self._mixed or torch.float32
        enabled = self._mixed is not None
        return torch.autocast(inputs.device.type, dtype=dtype, enabled=enabled)

    def _fixed_parameters(self) -> list[nn.Parameter]:
        fixed = [p for stage in self._frozen for p in stage.parameters()]
        if self._frozen_batch_norm:
            for module in self.resnet.modules():
                if isinstance(module, _BATCH_NORMS):
                    fixed += module.parameters()
        return fixed


def _run_stages(stages: Sequence[nn.Module], inputs: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for stage in stages:
        inputs = stage(inputs)
        maps.append(inputs)
    return maps


def _widen_head(resnet: Network, head_stages: int) -> Network:
    head = resnet.fc
    if head_stages > 1 and isinstance(head, nn.Linear):
        # Each stage has half the channels of the one behind it.
        width = sum(head.in_features >> back for back in range(head_stages))
        resnet.fc = nn.Linear(width, head.out_features)
    return resnet


def _stages(resnet: Network) -> list[nn.Module]:
    if isinstance(resnet, SmallResNet):
        stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act)
        return [stem, resnet.layer1, resnet.layer2, resnet.layer3]
    stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act, resnet.maxpool)
    return [stem, resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
