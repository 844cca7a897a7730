"""The picture of class-activation maps beside a prediction: its bytes, and what is no such map."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from tests.functions.builders import CLASSES, JOB, MODEL, encoded, grey_map, lines_of, source
from tomodrop.answers import Activation, Answer
from tomodrop.class_maps import with_class_maps
from tomodrop.predictions import ClassMaps, Result, Rules, SliceMap, predicted
from tomodrop.references import BatchReference, ModelReference

LEFT_OUT = "The model sent no class-activation map that can be read, so none is kept."
GREYS = grey_map(0, 85, 170, 255)
READABLE = Activation(GREYS, "covid", -1.5, 2.0)


def answer(covid: float, activation: Activation | None = READABLE) -> Answer:
    return Answer((1 - covid, covid), activation=activation)


def kept(*answers: Answer, top_share: float = 1.0) -> tuple[Result, bytes | None]:
    lines = lines_of(source(), len(answers))
    model = ModelReference(name="m", training_job="t", normaliser=MODEL.normaliser, metrics={})
    batch = BatchReference(id=JOB.batch, job=str(JOB))
    result = predicted(lines, list(answers), list(CLASSES), model, batch, Rules(top_share))
    return with_class_maps(result, lines, answers)


def greys(picture: bytes | None) -> tuple[tuple[int, int], list[int]]:
    assert picture is not None
    with Image.open(io.BytesIO(picture)) as opened:
        assert (opened.format, opened.mode) == ("PNG", "L")
        return opened.size, list(opened.tobytes())


def test_a_slice_s_map_keeps_its_greys_and_what_they_mean() -> None:
    result, picture = kept(answer(0.8))
    assert greys(picture) == ((2, 2), [0, 85, 170, 255])
    assert result.class_maps == ClassMaps(
        key="predictions/a.png.map.png",
        width=2,
        height=2,
        maps=[SliceMap(index=0, label="covid", low=-1.5, high=2.0)],
    )
    assert result.warnings == []


def test_of_a_volume_those_that_count_lie_one_below_the_other() -> None:
    other = Activation(grey_map(1, 2, 3, 4), "non_covid", 0, 1)
    result, picture = kept(answer(0.9), answer(0.1, None), answer(0.4, other), top_share=0.6)
    assert greys(picture) == ((2, 4), [0, 85, 170, 255, 1, 2, 3, 4])
    assert result.volume
    assert result.class_maps
    assert [each.index for each in result.class_maps.maps] == result.volume.slices_used == [0, 2]
    assert [each.label for each in result.class_maps.maps] == ["covid", "non_covid"]


WIDE = Image.new("L", (257, 1))


@pytest.mark.parametrize(
    "activation",
    [
        None,
        replace(READABLE, png=b""),
        replace(READABLE, png=b"no picture"),
        replace(READABLE, png=GREYS[:-30]),
        replace(READABLE, png=encoded(Image.new("L", (2, 2)), "JPEG")),
        replace(READABLE, png=encoded(Image.new("RGB", (2, 2)))),
        replace(READABLE, png=encoded(WIDE)),
        replace(READABLE, png=encoded(Image.new("L", (3, 2)))),
    ],
    ids=["none", "empty", "text", "cut off", "jpeg", "colour", "large", "other size"],
)
def test_what_is_no_map_costs_the_picture_only(activation: Activation | None) -> None:
    result, picture = kept(answer(0.8), answer(0.7, activation))
    assert picture is None
    assert result.class_maps is None
    assert result.warnings == [LEFT_OUT]
    assert result.prediction
    assert result.prediction.label == "covid"
