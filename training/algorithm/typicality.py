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

import numpy as np
import numpy.typing as npt

from training.algorithm.failure import ArtefactError

Array: TypeAlias = npt.NDArray[np.floating]
Views: TypeAlias = Mapping[str, Array]
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

    mean: Array
    axes: Array
    spreads: Array
    rest: Array
    centre: Array
    width: Array

    @classmethod
    def fit(cls, train: Array, held_out: Array) -> Self:
        """Fit to rows (N, dimensions) of training slices, then measure held-out ones."""
        train = train.astype(np.float64)
        mean = train.mean(axis=0)
        _left, sizes, axes = np.linalg.svd(train - mean, full_matrices=False)
        count = max(1, min(_MAX_AXES, train.shape[1] // 2, len(train) // _SLICES_PER_AXIS))
        variances = np.square(sizes) / len(train)
        # Where the training slices never varied, a rounding error must not be infinitely far out.
        least = _LEAST_VARIANCE * (1 + np.square(mean).sum())
        spreads = np.sqrt(np.maximum(variances[:count], least))
        rest = np.maximum(variances[count:].sum(), least)
        zero, one = np.zeros(()), np.ones(())
        distances = cls(mean, axes[:count], spreads, rest, zero, one).distance(held_out)
        width = np.maximum(distances.std(), _LEAST_WIDTH)
        return cls(mean, axes[:count], spreads, rest, np.asarray(np.median(distances)), width)

    def distance(self, rows: Array) -> Array:
        """Return how much further out than is usual each row is, in usual deviations, (N)."""
        with np.errstate(all="ignore"):  # rows may hold what is no number
            offset = rows.astype(np.float64) - self.mean
            along = offset @ self.axes.T
            beside = np.maximum(np.square(offset).sum(1) - np.square(along).sum(1), 0)
            squared = np.square(along / self.spreads).sum(1) + len(self.axes) * beside / self.rest
            distances = (np.log(np.maximum(squared, _LEAST_DISTANCE)) - self.centre) / self.width
        # What cannot be measured is not typical.
        return np.where(np.isnan(distances), np.inf, distances)

    def check(self, name: str) -> None:
        """:raises ArtefactError: when the tensors do not fit one another."""
        count, dimensions = np.size(self.spreads), np.size(self.mean)
        expected = [(dimensions,), (count, dimensions), (count,), (), (), ()]
        if [part.shape for part in asdict(self).values()] != expected:
            raise ArtefactError(f"the model's typicality has strange shapes in its view {name!r}")
        if min(self.spreads.min(), self.rest, self.width) <= 0:
            raise ArtefactError(f"the model's typicality has a view {name!r} without any width")


@dataclass(frozen=True, slots=True)
class Typicality:
    """The summary of a model's training slices; ``held_out`` are distances in rising order."""

    views: Mapping[str, View]
    held_out: Array

    @classmethod
    def fit(cls, train: Views, held_out: Views) -> Self:
        """Summarise training slices, and compare held-out slices with them.

        :raises ValueError: when there are fewer than :data:`LEAST_SLICES` of either.
        """
        check_counts(*(min(map(len, views.values())) for views in (train, held_out)))
        fitted = {name: View.fit(rows, held_out[name]) for name, rows in train.items()}
        distances = np.sort(_furthest(fitted, held_out))
        if len(distances) > _MAX_HELD_OUT:
            distances = np.quantile(distances, (np.arange(_MAX_HELD_OUT) + 0.5) / _MAX_HELD_OUT)
        return cls(fitted, distances)

    def score(self, views: Views) -> Array:
        """Return the share of held-out slices that are less typical than each slice, (N)."""
        distances = _furthest(self.views, views)
        nearer = np.searchsorted(self.held_out, distances, side="right")
        return 1 - nearer / len(self.held_out)

    def check_fit(self, views: Views) -> None:
        """:raises ArtefactError: when these views are not those that were summarised."""
        found = {name: rows.shape[1] for name, rows in views.items()}
        known = {name: len(view.mean) for name, view in self.views.items()}
        if found != known:
            raise ArtefactError(f"the model's typicality is of {known}, its slices have {found}")

    def state(self) -> dict[str, Array]:
        """Return all of it as float32 arrays with flat names."""
        arrays = {
            f"{name}.{part}": array
            for name, view in self.views.items()
            for part, array in asdict(view).items()
        }
        arrays[_HELD_OUT] = self.held_out
        return {name: np.asarray(array, np.float32) for name, array in arrays.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Array]) -> Self:
        """Undo :meth:`state`.

        :raises ArtefactError: when an array is absent, unknown, of another shape or not finite.
        """
        parts: dict[str, dict[str, Array]] = {}
        try:
            # Float64 from here on, as it was measured; a list has no type to change.
            arrays = {name: array.astype(np.float64) for name, array in state.items()}
            held_out = arrays.pop(_HELD_OUT)
            for name, array in arrays.items():
                view, _dot, part = name.partition(".")
                parts.setdefault(view, {})[part] = array
            views = {name: View(**given) for name, given in parts.items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise ArtefactError(f"the model's typicality is not of a known form: {error}") from None
        for name, one in views.items():
            one.check(name)
        rising = held_out.ndim == 1 and len(held_out) and bool((np.diff(held_out) >= 0).all())
        finite = all(bool(np.isfinite(array).all()) for array in state.values())
        if not views or not rising or not finite:
            raise ArtefactError("the model's typicality has numbers that cannot be")
        return cls(views, held_out)


def check_counts(train: int, held_out: int) -> None:
    """:raises ValueError: when so many slices of either kind are too few for a summary."""
    for what, count in (("training", train), ("held-out", held_out)):
        if count < LEAST_SLICES:
            raise ValueError(f"{count} {what} slices, and at least {LEAST_SLICES} are needed")


def _furthest(views: Mapping[str, View], rows: Views) -> Array:
    distances = [view.distance(rows[name]) for name, view in views.items()]
    furthest: Array = np.stack(distances).max(axis=0)
    return furthest
