"""One pass over a channel: to learn, to be scored, or to collect features."""

from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.optim import Optimizer

from training.algorithm.data import Batch, Channel
from training.algorithm.hyperparameters import Hyperparameters
from training.algorithm.images import Scaling
from training.algorithm.log import Progress
from training.algorithm.metrics import Scores, Tally, score
from training.algorithm.model import Classifier


@dataclass(slots=True)
class Run:
    """What the passes of one job share; ``validation_samples`` is known after the first one."""

    chosen: Hyperparameters
    classifier: Classifier
    scaling: Scaling
    device: torch.device
    train: Channel
    validation: Channel
    validation_samples: int | None = None

    @property
    def varied(self) -> bool:
        """Whether training images are augmented."""
        return self.chosen.augmentation == "ct"

    def to_network(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float inputs (N, C, H, W) and labels (N) on the device."""
        images = batch.images.to(self.device, non_blocking=True)
        return self.scaling.to_input(images), batch.labels.to(self.device, non_blocking=True)


def learn(run: Run, optimiser: Optimizer, epoch: int) -> Scores:
    """Take one step per batch of the train channel's next pass; score as it goes."""
    tally = Tally(run.chosen.top_k)
    progress = Progress(
        f"Epoch[{epoch}]", run.chosen.num_training_samples, run.chosen.mini_batch_size
    )
    run.classifier.train()
    with run.train.batches(shuffled=True, varied=run.varied) as batches:
        for batch in batches:
            inputs, labels = run.to_network(batch)
            logits, loss = _step(run, optimiser, inputs, labels)
            tally.add(logits, labels, loss)
            progress.add(len(labels), tally.accuracy)
    return tally.result()


def _step(
    run: Run, optimiser: Optimizer, inputs: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, float]:
    if len(labels) == 1 and not run.chosen.frozen_batch_norm:
        # Batch-norm has no spread to learn from in a single image (a last batch of one).
        run.classifier.eval()
        with torch.inference_mode():
            logits = run.classifier(inputs)
        run.classifier.train()
        return logits, float(functional.cross_entropy(logits, labels))
    logits = run.classifier(inputs)
    loss = functional.cross_entropy(logits, labels, label_smoothing=run.chosen.label_smoothing)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimiser.step()
    return logits.detach(), float(loss.detach())


def evaluate(run: Run, epoch: int) -> Scores:
    """Score every sample of the validation channel's next pass."""
    scores: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    progress = _validation_progress(run, epoch)
    run.classifier.eval()
    with run.validation.batches() as batches, torch.inference_mode():
        for batch in batches:
            inputs, _ = run.to_network(batch)
            scores.append(run.classifier(inputs).cpu())
            labels.append(batch.labels)
            progress.add(len(batch.labels))
    result = score(torch.cat(scores), torch.cat(labels), run.chosen.top_k)
    run.validation_samples = result.samples
    return result


def collect_features(
    run: Run, channel: Channel, progress: Progress, *, varied: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the head sees (N, features) and the labels (N) of the channel's next pass."""
    features: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    run.classifier.eval()
    with channel.batches(varied=varied) as batches, torch.inference_mode():
        for batch in batches:
            inputs, _ = run.to_network(batch)
            features.append(run.classifier.features(inputs).cpu())
            labels.append(batch.labels)
            progress.add(len(batch.labels))
    return torch.cat(features), torch.cat(labels)


def _validation_progress(run: Run, epoch: int) -> Progress:
    return Progress(
        f"Epoch[{epoch}] Validation", run.validation_samples, run.chosen.mini_batch_size
    )


def validation_features(run: Run, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels of the validation channel's next pass."""
    features, labels = collect_features(run, run.validation, _validation_progress(run, epoch))
    run.validation_samples = len(labels)
    return features, labels
