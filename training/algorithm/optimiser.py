"""The step rules of the built-in, each part of the network at its own rate."""

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from training.algorithm.hyperparameters import Hyperparameters

_FACTOR = "rate_factor"


def build_optimiser(groups: list[list[nn.Parameter]], chosen: Hyperparameters) -> Optimizer:
    """Return the optimizer that the hyperparameters ask for.

    ``groups`` are parameters by distance from the output; each learns at ``stage_rate_factor``
    times the rate of the one before it. As in the built-in, weight_decay acts on sgd and nag only
    (and on adamw, an extra).
    """
    parameters: list[dict[str, Any]] = [
        {"params": group, _FACTOR: chosen.stage_rate_factor**distance}
        for distance, group in enumerate(groups)
    ]
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


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Use ``rate``, times each group's own factor, from the next step on."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group[_FACTOR]
