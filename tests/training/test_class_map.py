import pytest
import torch

from training.algorithm.class_map import class_maps, pool


@pytest.mark.parametrize(
    "grids",
    [
        [(7, 7)],
        [(14, 14), (7, 7)],
        [(28, 28), (14, 14), (7, 7)],
        # Grids that are no multiples of each other, as of odd sides.
        [(7, 9), (4, 5), (2, 3)],
        [(3, 2), (2, 1), (1, 1)],
    ],
)
def test_the_mean_of_a_map_and_the_bias_are_the_score(grids: list[tuple[int, int]]) -> None:
    torch.manual_seed(1)
    stages = [torch.rand(2, 4 * (n + 1), *grid) for n, grid in enumerate(grids)]
    head = torch.nn.Linear(sum(maps.shape[1] for maps in stages), 3)
    maps = class_maps(stages, head.weight)
    assert maps.shape == (2, 3, *grids[0])
    scores = head(pool(stages))
    assert torch.allclose(maps.mean(dim=(2, 3)) + head.bias, scores, atol=1e-5)


def test_a_map_shows_where_the_score_comes_from() -> None:
    maps = torch.zeros(1, 2, 5, 5)
    maps[0, 1, 3, 4] = 1
    found = class_maps([maps], torch.tensor([[0.0, 2.0], [1.0, -1.0]]))
    assert found[0, 0].argmax() == found[0, 1].argmin() == 3 * 5 + 4
    assert found[0, 0, 3, 4] == 2
    assert found.count_nonzero() == 2


def test_a_coarse_stage_is_seen_on_the_grid_of_the_fine_one() -> None:
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)
    coarse[0, 0, 0, 1] = 1
    found = class_maps([fine, coarse], torch.ones(1, 2))[0, 0]
    expected = torch.zeros(4, 4)
    expected[:2, 2:] = 1
    assert torch.equal(found, expected)
