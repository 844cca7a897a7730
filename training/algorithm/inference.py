"""A loaded model: pixels in, one probability per class out, and more about them if asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from training.algorithm.artefact import ModelDescription, load_typicality, read_description
from training.algorithm.cpu import count_cores
from training.algorithm.engines import Engine, Floats, Levels, load_engine
from training.algorithm.failure import ArtefactError
from training.algorithm.images import Pixels
from training.algorithm.probabilities import Calibration, sigmoid, softmax
from training.algorithm.typicality import Typicality
from training.algorithm.views import look_at


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one image; probabilities are in the order of the classes.

    ``calibrated`` and ``typicality`` (0…1) are None where the model has no such thing. ``maps``
    (classes, h, w) say where the scores come from, see :mod:`class_map`.
    """

    probabilities: list[float]
    calibrated: list[float] | None
    typicality: float | None
    maps: Floats

    @property
    def best(self) -> int:
        """The class that is answered."""
        return int(np.argmax(self.calibrated or self.probabilities))


class Predictor:
    """Answers for one image at a time, so that no answer depends on another request."""

    def __init__(
        self,
        description: ModelDescription,
        engine: Engine,
        typicality: Typicality | None = None,
    ) -> None:
        self.description = description
        self.engine = engine
        self._calibration = _calibration(description)
        self._typicality = typicality

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what ``train`` left.

        :raises ArtefactError: when it is incomplete, altered, a backbone, or does not fit its
            description.
        """
        engine = load_engine(folder, count_cores())
        summary = load_typicality(folder)
        typicality = None if summary is None else Typicality.from_state(summary)
        return cls(read_description(folder), engine, typicality)

    @property
    def multi_label(self) -> bool:
        """Whether the classes do not exclude each other: each has a probability of its own."""
        return self.description.hyperparameters.get("multi_label") == "1"

    def predict(self, pixels: Pixels) -> list[float]:
        """Return the probability of each class for one image of ``image_shape``."""
        return self._probabilities(self.engine.run(pixels[None]).scores)

    def features(self, images: Levels) -> Floats:
        """Return what the head sees (N, features) of images (N, H, W, C)."""
        return self.engine.run(images).features

    def explain(self, pixels: Pixels) -> Answer:
        """Return all that is known of the answer for one image of ``image_shape``.

        :raises ArtefactError: when the typicality is not of this network.
        """
        outputs = self.engine.run(pixels[None])
        calibrated = typicality = None
        if self._calibration:
            calibrated = self._calibration.probabilities(outputs.scores)[0].tolist()
        if self._typicality:
            views = look_at(pixels[None], outputs.features)
            self._typicality.check_fit(views)
            typicality = float(self._typicality.score(views)[0])
        probabilities = self._probabilities(outputs.scores)
        return Answer(probabilities, calibrated, typicality, outputs.maps[0])

    def _probabilities(self, scores: Floats) -> list[float]:
        answer = sigmoid(scores) if self.multi_label else softmax(scores)
        probabilities: list[float] = answer[0].tolist()
        return probabilities

    def check(self) -> None:
        """Answer for a black image once; the first answer is slow, and a broken model shows.

        :raises ArtefactError: when the answer is no distribution over the classes, or with
            ``multi_label`` no probabilities.
        """
        channels, height, width = self.description.image_shape
        try:
            answer = self.explain(np.zeros((height, width, channels), np.uint8)).probabilities
        except RuntimeError as error:
            raise ArtefactError(f"the model cannot answer for a black image: {error}") from error
        adds_up = self.multi_label or abs(sum(answer) - 1) <= 1e-3
        fits = len(answer) == len(self.description.classes)
        if not np.isfinite(answer).all() or not adds_up or not fits:
            raise ArtefactError(f"the model answers {answer} for a black image")


def _calibration(description: ModelDescription) -> Calibration | None:
    given = description.calibration
    if given is None:
        return None
    return Calibration(float(given["temperature"]), tuple(map(float, given["bias"])))
