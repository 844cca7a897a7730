import numpy as np
import pytest

from training.algorithm.failure import ArtefactError
from training.algorithm.typicality import LEAST_SLICES, Array, Typicality

DIMENSIONS = {"features": 40, "levels": 6}


def cloud(count: int, seed: int, shift: float = 0.0, **dimensions: int) -> dict[str, Array]:
    """Gaussian slices: in each view a few long axes and many short ones, around a far centre."""
    random = np.random.default_rng(seed)
    views: dict[str, Array] = {}
    for name, size in (dimensions or DIMENSIONS).items():
        spreads = np.linspace(5, 0.1, size)
        views[name] = 100 + shift + random.standard_normal((count, size)) * spreads
    return views


@pytest.fixture(scope="module")
def fitted() -> Typicality:
    return Typicality.fit(cloud(600, 1), cloud(400, 2))


def test_of_the_like_of_held_out_slices_every_typicality_is_as_frequent(
    fitted: Typicality,
) -> None:
    shares = fitted.score(cloud(4000, 3))
    for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert float((shares < quantile).mean()) == pytest.approx(quantile, abs=0.04)


def test_held_out_slices_themselves_are_spread_evenly(fitted: Typicality) -> None:
    shares = np.sort(fitted.score(cloud(400, 2)))
    assert np.allclose(shares, np.arange(400) / 400)


@pytest.mark.parametrize("view", DIMENSIONS)
def test_what_is_far_out_in_one_view_is_not_typical(fitted: Typicality, view: str) -> None:
    slices = cloud(50, 4)
    slices[view] = slices[view] + 30
    assert fitted.score(slices).max() == 0


def test_what_leaves_the_axes_is_not_typical_even_if_it_is_near() -> None:
    """A short way is a long one where the training slices never went."""
    random = np.random.default_rng(1)
    flat = random.standard_normal((200, 8)) * ([1] * 2 + [1e-3] * 6)
    fitted = Typicality.fit({"v": flat[:100]}, {"v": flat[100:]})
    assert fitted.score({"v": np.array([[0.1] * 2 + [0.0] * 6])}) > 0.05
    assert fitted.score({"v": np.array([[0.1] * 2 + [0.1] * 6])}) == 0


def test_the_middle_is_the_most_typical(fitted: Typicality) -> None:
    middle = {name: np.full((1, size), 100.0) for name, size in DIMENSIONS.items()}
    assert fitted.score(middle) > 0.99


def test_what_cannot_be_measured_is_not_typical(fitted: Typicality) -> None:
    slices = cloud(2, 5)
    slices["features"][0, 3] = float("nan")
    slices["levels"][1, 0] = float("inf")
    assert fitted.score(slices).tolist() == [0, 0]


@pytest.mark.parametrize("count", [LEAST_SLICES, 30])
def test_few_slices_of_many_dimensions_are_enough(count: int) -> None:
    views = {"features": 2048, "levels": 16}
    fitted = Typicality.fit(cloud(count, 1, **views), cloud(count, 2, **views))
    assert np.median(fitted.score(cloud(200, 3, **views))) > 0.1
    assert fitted.score(cloud(20, 3, shift=40, **views)).max() == 0


def test_a_view_that_never_varied_tells_what_varies() -> None:
    same = {"v": np.full((LEAST_SLICES, 5), 0.25)}
    fitted = Typicality.fit(same, same)
    assert fitted.score({"v": np.array([[0.25] * 4 + [0.9]])}) == 0
    assert np.isfinite(fitted.score({"v": np.full((1, 5), 0.25 + 1e-7)}))


def test_many_held_out_slices_are_kept_as_a_thousand() -> None:
    fitted = Typicality.fit(cloud(100, 1), cloud(5000, 2))
    assert len(fitted.held_out) == 1000
    shares = fitted.score(cloud(5000, 2))
    assert float((shares < 0.05).mean()) == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("train", "held_out", "said"),
    [
        (LEAST_SLICES - 1, 100, "19 training slices"),
        (100, LEAST_SLICES - 1, "19 held-out slices"),
        (100, 0, "0 held-out slices"),
    ],
)
def test_too_few_slices_are_refused(train: int, held_out: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Typicality.fit(cloud(train, 1), cloud(held_out, 2))


def test_what_is_stored_says_the_same_and_holds_no_slice(fitted: Typicality) -> None:
    state = fitted.state()
    slices = cloud(300, 6)
    again = Typicality.from_state(state)
    assert np.allclose(again.score(slices), fitted.score(slices), atol=0.01)
    assert all(array.dtype == np.float32 for array in state.values())
    assert {len(array) for array in state.values() if array.ndim == 2} == {20, 3}


def test_the_same_slices_give_the_same_summary() -> None:
    first, second = (Typicality.fit(cloud(60, 1), cloud(60, 2)).state() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("held_out", ..., "known form"),
        ("held_out", np.array([]), "cannot be"),
        ("held_out", np.array([2.0, 1.0]), "cannot be"),
        ("held_out", np.array(1.0), "cannot be"),
        ("held_out", np.array([0.0, float("nan")]), "cannot be"),
        ("held_out", [1.0, 2.0], "known form"),
        ("levels.mean", ..., "known form"),
        ("levels.mean", np.zeros(7), "strange shapes"),
        ("levels.axes", np.zeros((3, 7)), "strange shapes"),
        ("levels.axes", np.full((3, 6), float("inf")), "cannot be"),
        ("levels.rest", np.zeros(1), "strange shapes"),
        ("levels.rest", np.array(0.0), "without any width"),
        ("levels.width", np.array(-1.0), "without any width"),
        ("levels.spreads", np.array([1.0, 1.0, 0.0]), "without any width"),
        ("levels.surprise", np.zeros(1), "known form"),
        ("surprise", np.zeros(1), "known form"),
    ],
)
def test_what_is_no_summary_is_refused(
    fitted: Typicality, name: str, value: object, said: str
) -> None:
    state = {**fitted.state(), name: value}
    with pytest.raises(ArtefactError, match=said):
        Typicality.from_state({n: v for n, v in state.items() if v is not ...})  # type: ignore[misc]


@pytest.mark.parametrize("state", [{}, [], {"held_out": np.ones(3)}])
def test_a_file_that_holds_something_else_is_refused(state: object) -> None:
    with pytest.raises(ArtefactError):
        Typicality.from_state(state)  # type: ignore[arg-type]


@pytest.mark.parametrize("views", [{"features": 40}, {"features": 41, "levels": 6}])
def test_slices_of_another_network_are_refused(fitted: Typicality, views: dict[str, int]) -> None:
    fitted.check_fit(cloud(1, 1))
    with pytest.raises(ArtefactError, match="typicality is of"):
        fitted.check_fit(cloud(1, 1, **views))
