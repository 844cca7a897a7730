"""One pass over a channel: to learn, to be scored, or to collect features."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from training.algorithm.answers import Answers
from training.algorithm.combinations import CT
from training.algorithm.data import Batch, Channel
from training.algorithm.distributed import Team
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.images import Scaling
from training.algorithm.learner import Learner
from training.algorithm.log import Progress
from training.algorithm.losses import LabelCounts, count_labels
from training.algorithm.metrics import Scores, Tally, score
from training.algorithm.model import Classifier
from training.algorithm.sharing import shared_batches


@dataclass(slots=True)
class Run:
    """What the passes of one job share; the numbers are known after a pass that counts.

    ``answers`` are those of the last validation, ``shipped`` those of the model that is kept;
    ``stop`` is set when the job is told to end.
    """

    chosen: Hyperparameters
    classifier: Classifier
    scaling: Scaling
    device: torch.device
    train: Channel
    validation: Channel
    validation_samples: int | None = None
    label_counts: LabelCounts | None = None
    team: Team = field(default_factory=Team)
    answers: Answers | None = None
    shipped: Answers | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def varied(self) -> bool:
        """Whether training images are augmented."""
        return self.chosen.augmentation == CT or self.chosen.augmentation_type is not None

    def to_network(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float inputs (N, C, H, W) and labels (N) on the device."""
        images = batch.images.to(self.device, non_blocking=True)
        return self.scaling.to_input(images), batch.labels.to(self.device, non_blocking=True)


def learn(run: Run, learner: Learner, epoch: int) -> Scores:
    """Take one step per batch of the train channel's next pass; score as it goes."""
    tally = Tally(run.chosen.top_k)
    progress = _train_progress(run, epoch)
    learner.start_epoch(epoch)
    with shared_batches(run.train, run.team, varied=run.varied) as batches:
        for batch in batches:
            inputs, labels = run.to_network(batch)
            logits, loss = learner.step(inputs, labels)
            tally.add(logits, labels, loss)
            # The other processes have about as many.
            progress.add(len(labels) * run.team.place.size, tally.accuracy)
    tally.merge(run.team.total)
    return tally.result()


def count_train_labels(run: Run, epoch: int) -> LabelCounts:
    """Count the labels of the train channel's next pass."""
    progress = _train_progress(run, epoch)
    labels: list[torch.Tensor] = []
    with run.train.batches() as batches:
        for batch in batches:
            labels.append(batch.labels)
            progress.add(len(batch.labels))
    return count_labels(torch.cat(labels), run.chosen.num_classes)


def _train_progress(run: Run, epoch: int) -> Progress:
    return Progress(f"Epoch[{epoch}]", run.chosen.num_training_samples, run.chosen.mini_batch_size)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was made of each image of a pass (N, …), with labels and groups as in :class:`Batch`."""

    values: torch.Tensor
    labels: torch.Tensor
    groups: tuple[str, ...] | None

    def answered(self, logits: torch.Tensor) -> Answers:
        """Return ``logits`` (N, classes) as the answers to these images."""
        return Answers(logits, self.labels, self.groups)


def evaluate(run: Run, epoch: int) -> Scores:
    """Score every sample of the validation channel's next pass."""
    seen = _look_at(run, run.validation, run.classifier, _validation_progress(run, epoch))
    run.answers = seen.answered(seen.values)
    result = score(seen.values, seen.labels, run.chosen.top_k)
    run.validation_samples = result.samples
    return result


def collect_features(
    run: Run, channel: Channel, progress: Progress, *, varied: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the head sees (N, features) and the labels (N) of the channel's next pass."""
    seen = _look_at(run, channel, run.classifier.features, progress, varied=varied)
    return seen.values, seen.labels


def validation_features(run: Run, epoch: int) -> Seen:
    """Return what the head sees (N, features) of the validation channel's next pass."""
    progress = _validation_progress(run, epoch)
    seen = _look_at(run, run.validation, run.classifier.features, progress)
    run.validation_samples = len(seen.labels)
    return seen


def _look_at(
    run: Run,
    channel: Channel,
    network: Callable[[torch.Tensor], torch.Tensor],
    progress: Progress,
    *,
    varied: bool = False,
) -> Seen:
    values: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    groups: list[str] = []
    run.classifier.eval()
    with channel.batches(varied=varied) as batches, torch.inference_mode():
        for batch in batches:
            inputs, _ = run.to_network(batch)
            values.append(network(inputs).cpu())
            labels.append(batch.labels)
            groups.extend(batch.groups or ())
            progress.add(len(batch.labels))
    return Seen(torch.cat(values), torch.cat(labels), tuple(groups) or None)


def _validation_progress(run: Run, epoch: int) -> Progress:
    return Progress(
        f"Epoch[{epoch}] Validation", run.validation_samples, run.chosen.mini_batch_size
    )
