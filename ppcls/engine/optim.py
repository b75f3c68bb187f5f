"""Learning rate schedules and optimizers."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

import paddle
from paddle import nn

from ppcls.config.schema import AdamW, Constant, Cosine, Momentum, Piecewise

__all__ = ["build_optimizer", "learning_rate_schedule"]


def learning_rate_schedule(
    options: Constant | Cosine | Piecewise, epochs: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """Return the learning rate as a function of the step, counted from 0 over the whole run.

    During the first `warmup_epoch` epochs the rate rises linearly to the schedule's first value.
    A cosine fills the epochs after the warmup; `decay_epochs` count from the start of the run.
    """
    warmup = options.warmup_epoch * steps_per_epoch

    def after_warmup(step: int) -> float:
        if isinstance(options, Cosine):
            share = min(1.0, (step - warmup) / max(1, epochs * steps_per_epoch - warmup))
            height = options.learning_rate - options.eta_min
            return options.eta_min + height * (1 + math.cos(math.pi * share)) / 2
        if isinstance(options, Piecewise):
            epoch = step // steps_per_epoch
            return options.values[bisect.bisect_right(options.decay_epochs, epoch)]
        return options.learning_rate

    peak = options.values[0] if isinstance(options, Piecewise) else options.learning_rate

    def rate(step: int) -> float:
        if step < warmup:
            return options.warmup_start_lr + (peak - options.warmup_start_lr) * step / warmup
        return after_warmup(step)

    return rate


def build_optimizer(options: Momentum | AdamW, model: nn.Layer) -> paddle.optimizer.Optimizer:
    """Return the optimizer over a model's parameters; the training loop sets its learning rate."""
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    if isinstance(options, Momentum):
        return paddle.optimizer.Momentum(
            learning_rate=0.0,
            momentum=options.momentum,
            parameters=parameters,
            use_nesterov=options.use_nesterov,
            weight_decay=options.regularizer.coeff if options.regularizer else None,
        )
    return paddle.optimizer.AdamW(
        learning_rate=0.0,
        beta1=options.beta1,
        beta2=options.beta2,
        epsilon=options.epsilon,
        parameters=parameters,
        weight_decay=options.weight_decay,
    )
