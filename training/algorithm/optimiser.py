"""The step rules of the built-in, and how the learning rate falls."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from training.algorithm.hyperparameters import Hyperparameters


def build_optimiser(parameters: Iterable[nn.Parameter], chosen: Hyperparameters) -> Optimizer:
    """Return the optimizer that the hyperparameters ask for.

    As in the built-in, weight_decay acts on sgd and nag only (and on adamw, an extra).
    """
    rate = chosen.learning_rate
    betas = (chosen.beta_1, chosen.beta_2)
    match chosen.optimizer:
        case "adam":
            return Adam(parameters, lr=rate, betas=betas, eps=chosen.eps)
        case "adamw":
            decay = chosen.weight_decay
            return AdamW(parameters, lr=rate, betas=betas, eps=chosen.eps, weight_decay=decay)
        case "rmsprop":
            return RMSprop(parameters, lr=rate, alpha=chosen.gamma, eps=chosen.eps)
        case _:
            return SGD(
                parameters,
                lr=rate,
                momentum=chosen.momentum,
                weight_decay=chosen.weight_decay,
                nesterov=chosen.optimizer == "nag" and chosen.momentum > 0,
            )


def learning_rate_at(epoch: int, chosen: Hyperparameters) -> float:
    """Return the learning rate of ``epoch`` (from 0)."""
    passed = sum(step <= epoch for step in chosen.lr_scheduler_step)
    return float(chosen.learning_rate * chosen.lr_scheduler_factor**passed)


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Use ``rate`` from the next step on."""
    for group in optimiser.param_groups:
        group["lr"] = rate
