"""A loaded model: pixels in, one probability per class out, and more about them if asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from training.algorithm.artefact import (
    BACKBONE,
    ModelDescription,
    load_model,
    load_typicality,
)
from training.algorithm.calibration import Calibration
from training.algorithm.failure import ArtefactError
from training.algorithm.hardware import choose_device
from training.algorithm.images import Pixels, stack_images
from training.algorithm.model import Classifier, build_resnet
from training.algorithm.typicality import Typicality
from training.algorithm.views import look_at


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one image; probabilities are in the order of the classes.

    ``calibrated`` and ``typicality`` (0…1) are None where the model has no such thing.
    """

    probabilities: list[float]
    calibrated: list[float] | None
    typicality: float | None


class Predictor:
    """Answers for one image at a time, so that no answer depends on another request."""

    def __init__(
        self,
        description: ModelDescription,
        classifier: Classifier,
        typicality: Typicality | None = None,
    ) -> None:
        self.description = description
        self._device = choose_device()
        self._calibration = _calibration(description)
        self._typicality = typicality
        self.classifier = classifier.eval().place_on(self._device)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what ``train`` left.

        :raises ArtefactError: when it is incomplete, altered, a backbone, or does not fit its
            description.
        """
        description, state = load_model(folder)
        if description.kind == BACKBONE:
            raise ArtefactError(
                f"the model in {folder} is a backbone ({description.start}): it has no head to "
                "answer with. Give it to a training job as its channel 'model', and serve what "
                "that leaves"
            )
        channels, num_classes = description.image_shape[0], len(description.classes)
        resnet = build_resnet(
            description.num_layers, channels, num_classes, description.head_stages
        )
        try:
            resnet.load_state_dict(state)
        except RuntimeError as error:
            raise ArtefactError(f"the weights in {folder} do not fit: {error}") from error
        classifier = Classifier(
            resnet,
            trainable_stages=0,
            frozen_batch_norm=True,
            head_stages=description.head_stages,
        )
        summary = load_typicality(folder)
        typicality = None if summary is None else Typicality.from_state(summary)
        return cls(description, classifier, typicality)

    @property
    def multi_label(self) -> bool:
        """Whether the classes do not exclude each other: each has a probability of its own."""
        return self.description.hyperparameters.get("multi_label") == "1"

    def predict(self, pixels: Pixels) -> list[float]:
        """Return the probability of each class for one image of ``image_shape``."""
        with torch.inference_mode():
            images = stack_images([pixels]).to(self._device)
            return self._probabilities(self.classifier(self.description.scaling.to_input(images)))

    def explain(self, pixels: Pixels) -> Answer:
        """Return all that is known of the answer for one image of ``image_shape``.

        :raises ArtefactError: when the typicality is not of this network.
        """
        with torch.inference_mode():
            images = stack_images([pixels]).to(self._device)
            features = self.classifier.features(self.description.scaling.to_input(images))
            scores = self.classifier.head(features)
            calibrated = typicality = None
            if self._calibration:
                calibrated = self._calibration.probabilities(scores.cpu())[0].tolist()
            if self._typicality:
                views = look_at(images, features)
                self._typicality.check_fit(views)
                typicality = float(self._typicality.score(views))
            return Answer(self._probabilities(scores), calibrated, typicality)

    def _probabilities(self, scores: torch.Tensor) -> list[float]:
        scores = scores.double()
        answer = scores.sigmoid() if self.multi_label else scores.softmax(1)
        probabilities: list[float] = answer[0].tolist()
        return probabilities

    def check(self) -> None:
        """Answer for a black image once; the first answer is slow, and a broken model shows.

        :raises ArtefactError: when the answer is no distribution over the classes, or with
            ``multi_label`` no probabilities.
        """
        channels, height, width = self.description.image_shape
        black = torch.zeros(height, width, channels).byte().numpy()
        answer = torch.tensor(self.explain(black).probabilities)
        adds_up = self.multi_label or abs(float(answer.sum()) - 1) <= 1e-3
        if not bool(answer.isfinite().all()) or not adds_up:
            raise ArtefactError(f"the model answers {answer.tolist()} for a black image")


def _calibration(description: ModelDescription) -> Calibration | None:
    given = description.calibration
    if given is None:
        return None
    return Calibration(float(given["temperature"]), tuple(map(float, given["bias"])))
