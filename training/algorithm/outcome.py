"""What a training job leaves: the best model, metrics per epoch, pictures, the last log lines."""

import datetime as dt
import json
import shutil

from training.algorithm.architectures import ARCHITECTURES
from training.algorithm.artefact import (
    DESCRIPTION_NAME,
    ModelDescription,
    amend_description,
    save_model,
)
from training.algorithm.curves import CURVES_NAME, draw_accuracy
from training.algorithm.diagrams import draw_diagrams
from training.algorithm.evaluation import Evaluation, describe, evaluate_answers, metric_line
from training.algorithm.failure import AlgorithmError
from training.algorithm.history import History
from training.algorithm.hyperparameters import as_text
from training.algorithm.log import LOGGER
from training.algorithm.metrics import EpochResult
from training.algorithm.passes import Run
from training.algorithm.settings import TrainSettings

METRICS_NAME = "metrics.jsonl"


class Outcome:
    """Writes a job's results as they come, so that a job that is stopped leaves what it has."""

    def __init__(
        self, run: Run, settings: TrainSettings, classes: tuple[str, ...], start: str
    ) -> None:
        self._run = run
        self._settings = settings
        self._classes = classes
        self._start = start
        self._layout = settings.layout
        self._layout.output_data.mkdir(parents=True, exist_ok=True)
        (self._layout.output_data / METRICS_NAME).unlink(missing_ok=True)

    def keep_metrics(self, result: EpochResult) -> None:
        """Append one epoch to the metrics file."""
        path = self._layout.output_data / METRICS_NAME
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.as_json()) + "\n")

    def keep_model(self, result: EpochResult) -> None:
        """Store the network as it is now, the best so far, in place of the one before."""
        LOGGER.info(
            "Storing the best model with validation accuracy: %.6f", result.validation.accuracy
        )
        self._run.shipped = self._run.answers
        state = self._run.classifier.resnet.state_dict()
        save_model(self._layout.model, self._describe(result), state)
        LOGGER.info('Saved checkpoint to "%s"', self._layout.model)

    def keep_checkpoint(self, result: EpochResult) -> None:
        """Store the network beside the best one, in a folder named after the epoch from 1."""
        folder = self._layout.model / f"epoch-{result.epoch + 1}"
        save_model(folder, self._describe(result), self._run.classifier.resnet.state_dict())

    def conclude(self, history: History) -> None:
        """Evaluate the shipped epoch, draw the pictures, and log its own metrics last.

        Metric definitions keep the last value they see, so it must be the shipped model's.
        """
        best = history.best
        if best is None:
            raise AlgorithmError("no epoch was finished")
        output = self._layout.output_data
        draw_accuracy(history.results, best, output / CURVES_NAME)
        judged = self._judge(best)
        shutil.copyfile(self._layout.model / DESCRIPTION_NAME, output / DESCRIPTION_NAME)
        LOGGER.info("The shipped model is that of Epoch[%d]", best.epoch)
        LOGGER.info("Shipped Epoch[%d] Train-accuracy=%.6f", best.epoch, best.train.accuracy)
        LOGGER.info(
            "Shipped Epoch[%d] Validation-accuracy=%.6f", best.epoch, best.validation.accuracy
        )
        LOGGER.info(describe(judged))
        LOGGER.info(metric_line(judged, best.epoch))

    def _judge(self, best: EpochResult) -> Evaluation:
        """Put what the kept model is worth, and its calibration, into its description."""
        answers = self._run.shipped
        if answers is None:
            raise AlgorithmError("the kept epoch left no answers to evaluate")
        judged = evaluate_answers(answers, self._classes, self._run.chosen.seed)
        if judged.calibrated is None:
            LOGGER.info("With multi_label=1 probabilities are not calibrated")
        shipped = {"epoch": best.epoch, **judged.as_json()}
        amend_description(
            self._layout.model,
            metrics=best.as_json() | {"shipped": shipped},
            calibration=judged.calibration_json(),
        )
        draw_diagrams(judged, self._layout.output_data)
        return judged

    def _describe(self, result: EpochResult) -> ModelDescription:
        chosen = self._run.chosen
        return ModelDescription(
            architecture=ARCHITECTURES[chosen.num_layers],
            num_layers=chosen.num_layers,
            classes=self._classes,
            image_shape=chosen.image_shape,
            scaling=self._run.scaling,
            normaliser=self._settings.normaliser,
            data_digest=self._settings.data_digest,
            training_job=self._settings.training_job,
            start=self._start,
            metrics=result.as_json(),
            hyperparameters=as_text(chosen),
            created_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
