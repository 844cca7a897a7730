"""Epoch 0 of a pretrained network: fit the head on frozen features before anything else moves.

A random head sends large, meaningless gradients through good features in its first steps. Here the
head is the optimum of a convex problem (multinomial logistic regression with a penalty), found in
seconds once the features are there.
"""

import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from training.algorithm.log import LOGGER, Progress
from training.algorithm.losses import Loss, count_labels, loss_weights, needs_counts
from training.algorithm.metrics import EpochResult, Scores, score
from training.algorithm.passes import Run, collect_features, validation_features

CANDIDATE_C = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_LEAST_SPREAD = 0.1
"""Of the mean spread of all features."""
_MAX_STEPS = 300


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer on raw features: ``weight`` (classes, features), ``bias`` (classes)."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Return scores (N, classes) of features (N, features)."""
        return functional.linear(features, self.weight, self.bias)


def run_probe(run: Run, epoch: int = 0) -> EpochResult:
    """Fit the classifier's head on frozen features; uses ``probe_views`` passes of train.

    With no ``probe_c`` given, the penalty is the candidate with the least validation loss.
    """
    started = time.monotonic()
    features, labels = _train_features(run, epoch)
    seconds = time.monotonic() - started
    run.label_counts = count_labels(labels, run.chosen.num_classes)
    weights = loss_weights(run.label_counts, run.chosen) if needs_counts(run.chosen) else None
    seen = validation_features(run, epoch)
    top_k = run.chosen.top_k
    best: tuple[Head, Scores, float] | None = None
    for c in (run.chosen.probe_c,) if run.chosen.probe_c else CANDIDATE_C:
        head = fit_head(features, labels, run.chosen.num_classes, c, weights)
        scores = score(head.logits(seen.values), seen.labels, top_k)
        if best is None or scores.loss < best[1].loss:
            best = head, scores, c
    assert best is not None
    head, validation_scores, c = best
    LOGGER.info("Epoch[%d] Probe: %d features, C=%g", epoch, features.shape[1], c)
    _install(run, head)
    run.answers = seen.answered(head.logits(seen.values))
    return EpochResult(
        epoch,
        "probe",
        train=score(head.logits(features), labels, top_k),
        validation=validation_scores,
        learning_rate=0.0,
        seconds=seconds,
        images_per_second=len(labels) / seconds,
    )


def fit_head(
    features: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    c: float,
    class_weights: torch.Tensor | None = None,
) -> Head:
    """Minimise the mean loss plus |weight|² / (2 c N) over standardised features (N, F).

    ``labels`` and ``class_weights`` are those of :class:`Loss`. The standardisation is folded
    into the result, which takes raw features.
    """
    raw = features.double()
    mean, std = raw.mean(0), raw.std(0, correction=0)
    # A feature that hardly varies would get a huge weight, and send as large a gradient back.
    scale = 1 / std.clamp_min(_LEAST_SPREAD * float(std.mean()) + 1e-12)
    loss = Loss(weights=None if class_weights is None else class_weights.double())
    weight, bias = _minimise((raw - mean) * scale, labels, num_classes, c, loss)
    folded = weight * scale
    return Head(folded.float(), (bias - folded @ mean).float())


def _minimise(
    features: torch.Tensor, labels: torch.Tensor, num_classes: int, c: float, loss: Loss
) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.zeros(num_classes, features.shape[1], dtype=features.dtype, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=features.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_MAX_STEPS,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    penalty = 1 / (2 * c * len(labels))

    def objective() -> torch.Tensor:
        search.zero_grad()
        losses = loss(functional.linear(features, weight, bias), labels)
        total: torch.Tensor = losses.mean() + penalty * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return total

    search.step(objective)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return weight.detach(), bias.detach()


def _train_features(run: Run, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Collect the passes over train; the first is as it is, the others are augmented."""
    views = run.chosen.probe_views
    expected = run.chosen.num_training_samples * views
    progress = Progress(f"Epoch[{epoch}]", expected, run.chosen.mini_batch_size)
    parts = [
        collect_features(run, run.train, progress, varied=run.varied and view > 0)
        for view in range(views)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _install(run: Run, head: Head) -> None:
    with torch.no_grad():
        run.classifier.head.weight.copy_(head.weight)
        run.classifier.head.bias.copy_(head.bias)
