"""The ResNets for images of about 30 pixels: He et al. 2016, "Deep Residual Learning", section 4.2.

A 3x3 stem and three stages of 16, 32 and 64 channels with (depth - 2) / 6 basic blocks each.
Shortcuts have no parameters: where a stage halves the image, every other pixel goes on and the
channels that are new start from zero (the paper's option A).
"""

import torch
from monai.networks.nets.resnet import ResNetBlock
from torch import nn
from torch.nn import functional

WIDTHS = (16, 32, 64)


class SmallResNet(nn.Module):
    """Images (N, channels, H, W) to scores (N, classes); layer names as in the larger ones."""

    def __init__(self, num_layers: int, channels: int, num_classes: int) -> None:
        super().__init__()
        blocks = (num_layers - 2) // 6
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.act = nn.ReLU(inplace=True)
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks, stride=1)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks, stride=2)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks, stride=2)
        self.fc = nn.Linear(WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores before softmax."""
        maps = self.act(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        scores: torch.Tensor = self.fc(maps.mean(dim=(2, 3)))
        return scores


class _Shortcut(nn.Module):
    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self._new_channels = new_channels

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, 0, self._new_channels))


def _stage(planes_in: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = _Shortcut(planes - planes_in) if stride > 1 else None
    first = ResNetBlock(planes_in, planes, spatial_dims=2, stride=stride, downsample=shortcut)
    rest = [ResNetBlock(planes, planes, spatial_dims=2) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
