"""Where in a slice a score comes from: class-activation maps (Zhou et al. 2016), exact.

A score is the mean over the last feature map, weighed by the head, plus a bias; the map is the
same sum before the mean. A head that sees several stages adds a map of each, brought to the
finest grid with its mean kept. So the mean of a class's map and its bias add up to its score.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional


def pool(stage_maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the features (N, sum of C) of maps (N, C, h, w): the means, side by side."""
    return torch.cat([maps.mean(dim=(2, 3)) for maps in stage_maps], dim=1)


def class_maps(stage_maps: Sequence[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """Return a map per class (N, classes, h, w) on the grid of the finest stage.

    ``weight`` (classes, sum of C) is the head's.
    """
    finest = stage_maps[0].shape[2:]
    parts = torch.split(weight, [maps.shape[1] for maps in stage_maps], dim=1)
    total = torch.zeros(())
    for maps, part in zip(stage_maps, parts, strict=True):
        total = total + _enlarge(_weigh(maps, part), finest)
    return total


def _weigh(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    flat = weight @ maps.flatten(2)
    return flat.reshape(*flat.shape[:2], *maps.shape[2:])


def _enlarge(maps: torch.Tensor, grid: torch.Size) -> torch.Tensor:
    if maps.shape[2:] == grid:
        return maps
    larger = functional.interpolate(maps, size=grid, mode="nearest")
    # On grids that are no multiple of each other, some cells count more often than others.
    apart = maps.mean(dim=(2, 3), keepdim=True) - larger.mean(dim=(2, 3), keepdim=True)
    return larger + apart
