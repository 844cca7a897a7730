from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.algorithm.answers import Answers
from training.algorithm.diagrams import draw_diagrams, roc_points
from training.algorithm.evaluation import evaluate_answers

THREE = ["confusion.png", "reliability.png", "roc.png"]


def test_a_curve_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.3, 0.1])
    positive = np.array([True, True, False, False, True])
    false, true = roc_points(scores, positive)
    assert false.tolist() == [0, 0, 0.5, 1, 1]
    assert true.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])


def test_the_area_below_the_curve_is_the_one_in_the_title() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(200, 2, generator=generator) * 4).round() / 4
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    found = evaluate_answers(Answers(logits, labels), ("a", "b"), seed=0)
    false, true = roc_points(found.scores[:, 1], found.is_class[:, 1])
    area = found.figures["auc"]
    assert area is not None
    assert np.trapezoid(true, false) == pytest.approx(area.value)


@pytest.mark.parametrize(
    ("labels", "classes", "drawn"),
    [
        (torch.arange(30) % 2, ("non_covid", "covid"), THREE),
        # Names that matplotlib would read a formula or a secret into.
        (torch.arange(30) % 3, ("$x_$", "_a", "b of c"), THREE),
        (torch.ones(30, dtype=torch.long), ("a", "b"), THREE),
        (torch.arange(30) % 25, tuple(map(str, range(25))), THREE),
        (torch.ones(30, 3), ("a", "b", "c"), ["roc.png"]),
    ],
    ids=["two", "three", "one class only", "many", "several of an image"],
)
def test_each_picture_is_drawn_where_it_has_a_meaning(
    tmp_path: Path, labels: torch.Tensor, classes: tuple[str, ...], drawn: list[str]
) -> None:
    logits = torch.randn(30, len(classes), generator=torch.Generator().manual_seed(0))
    draw_diagrams(evaluate_answers(Answers(logits, labels), classes, seed=0), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == drawn
    for name in drawn:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 500
