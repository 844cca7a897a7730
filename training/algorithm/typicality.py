"""How typical a slice is of those that a model knows: a small summary of its training slices.

Each view of a slice (the network's features, and :mod:`appearance`) has a Gaussian of its own: the
principal axes of the training slices, whitened, and beside them the rest, as in probabilistic PCA
(Tipping and Bishop 1999). A slice is as far out as in the view that it is furthest out in. The
same distances of held-out slices say what is usual: typicality is the share of them further out.
The summary holds means and axes, and no slice of anybody.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self, TypeAlias

import torch

from training.algorithm.failure import ArtefactError

Views: TypeAlias = Mapping[str, torch.Tensor]
"""Name of a view → one row per slice, (N, dimensions)."""

LEAST_SLICES = 20
"""Fewer held-out slices cannot tell one in twenty; fewer training slices have no axes."""
_MAX_AXES = 64
_SLICES_PER_AXIS = 4
_MAX_HELD_OUT = 1000
_LEAST_VARIANCE = 1e-8
_LEAST_WIDTH = 1e-3
_LEAST_DISTANCE = 1e-12
_HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class View:
    """One view of the training slices, and how far out held-out slices usually are in it.

    ``mean`` (dimensions), ``axes`` (axes, dimensions) and ``spreads`` (axes) are of the training
    slices, ``rest`` is their variance beside the axes; ``centre`` and ``width`` are median and
    standard deviation of the logarithm of held-out slices' squared distances.
    """

    mean: torch.Tensor
    axes: torch.Tensor
    spreads: torch.Tensor
    rest: torch.Tensor
    centre: torch.Tensor
    width: torch.Tensor

    @classmethod
    def fit(cls, train: torch.Tensor, held_out: torch.Tensor) -> Self:
        """Fit to rows (N, dimensions) of training slices, then measure held-out ones."""
        train = train.double()
        mean = train.mean(0)
        _left, sizes, axes = torch.linalg.svd(train - mean, full_matrices=False)
        count = max(1, min(_MAX_AXES, train.shape[1] // 2, len(train) // _SLICES_PER_AXIS))
        variances = sizes.square() / len(train)
        # Where the training slices never varied, a rounding error must not be infinitely far out.
        least = _LEAST_VARIANCE * (1 + float(mean.square().sum()))
        spreads = variances[:count].clamp_min(least).sqrt()
        rest = variances[count:].sum().clamp_min(least)
        zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        distances = cls(mean, axes[:count], spreads, rest, zero, one).distance(held_out)
        width = distances.std(correction=0).clamp_min(_LEAST_WIDTH)
        return cls(mean, axes[:count], spreads, rest, distances.median(), width)

    def distance(self, rows: torch.Tensor) -> torch.Tensor:
        """Return how much further out than is usual each row is, in usual deviations, (N)."""
        offset = rows.double() - self.mean
        along = offset @ self.axes.T
        beside = (offset.square().sum(1) - along.square().sum(1)).clamp_min(0)
        squared = (along / self.spreads).square().sum(1) + len(self.axes) * beside / self.rest
        distances = (squared.clamp_min(_LEAST_DISTANCE).log() - self.centre) / self.width
        # What cannot be measured is not typical.
        return distances.nan_to_num(nan=float("inf"))

    def check(self, name: str) -> None:
        """:raises ArtefactError: when the tensors do not fit one another."""
        count, dimensions = len(self.spreads), len(self.mean)
        expected = [(dimensions,), (count, dimensions), (count,), (), (), ()]
        if [tuple(part.shape) for part in asdict(self).values()] != expected:
            raise ArtefactError(f"the model's typicality has strange shapes in its view {name!r}")
        if min(self.spreads.min(), self.rest, self.width) <= 0:
            raise ArtefactError(f"the model's typicality has a view {name!r} without any width")


@dataclass(frozen=True, slots=True)
class Typicality:
    """The summary of a model's training slices; ``held_out`` are distances in rising order."""

    views: Mapping[str, View]
    held_out: torch.Tensor

    @classmethod
    def fit(cls, train: Views, held_out: Views) -> Self:
        """Summarise training slices, and compare held-out slices with them.

        :raises ValueError: when there are fewer than :data:`LEAST_SLICES` of either.
        """
        check_counts(*(min(map(len, views.values())) for views in (train, held_out)))
        fitted = {name: View.fit(rows, held_out[name]) for name, rows in train.items()}
        distances = _furthest(fitted, held_out).sort().values
        if len(distances) > _MAX_HELD_OUT:
            places = (torch.arange(_MAX_HELD_OUT, dtype=torch.float64) + 0.5) / _MAX_HELD_OUT
            distances = distances.quantile(places)
        return cls(fitted, distances)

    def score(self, views: Views) -> torch.Tensor:
        """Return the share of held-out slices that are less typical than each slice, (N)."""
        distances = _furthest(self.views, views)
        nearer = torch.searchsorted(self.held_out, distances, right=True)
        return 1 - nearer.double() / len(self.held_out)

    def check_fit(self, views: Views) -> None:
        """:raises ArtefactError: when these views are not those that were summarised."""
        found = {name: rows.shape[1] for name, rows in views.items()}
        known = {name: len(view.mean) for name, view in self.views.items()}
        if found != known:
            raise ArtefactError(f"the model's typicality is of {known}, its slices have {found}")

    def state(self) -> dict[str, torch.Tensor]:
        """Return all of it as float32 tensors with flat names."""
        tensors = {
            f"{name}.{part}": tensor
            for name, view in self.views.items()
            for part, tensor in asdict(view).items()
        }
        tensors[_HELD_OUT] = self.held_out
        return {name: tensor.float().contiguous() for name, tensor in tensors.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor]) -> Self:
        """Undo :meth:`state`.

        :raises ArtefactError: when a tensor is absent, unknown, of another shape or not finite.
        """
        parts: dict[str, dict[str, torch.Tensor]] = {}
        try:
            tensors = {name: tensor.double() for name, tensor in state.items()}
            held_out = tensors.pop(_HELD_OUT)
            for name, tensor in tensors.items():
                view, _dot, part = name.partition(".")
                parts.setdefault(view, {})[part] = tensor
            views = {name: View(**given) for name, given in parts.items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise ArtefactError(f"the model's typicality is not of a known form: {error}") from None
        for name, one in views.items():
            one.check(name)
        rising = held_out.ndim == 1 and len(held_out) and bool((held_out.diff() >= 0).all())
        finite = all(bool(tensor.isfinite().all()) for tensor in state.values())
        if not views or not rising or not finite:
            raise ArtefactError("the model's typicality has numbers that cannot be")
        return cls(views, held_out)


def check_counts(train: int, held_out: int) -> None:
    """:raises ValueError: when so many slices of either kind are too few for a summary."""
    for what, count in (("training", train), ("held-out", held_out)):
        if count < LEAST_SLICES:
            raise ValueError(f"{count} {what} slices, and at least {LEAST_SLICES} are needed")


def _furthest(views: Mapping[str, View], rows: Views) -> torch.Tensor:
    distances = [view.distance(rows[name]) for name, view in views.items()]
    return torch.stack(distances).amax(0)
