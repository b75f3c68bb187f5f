"""Learning rate schedules and optimizers."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

import paddle
from paddle import nn
from paddle.regularizer import L1Decay, L2Decay, WeightDecayRegularizer

from ppcls.errors import ConfigError, did_you_mean
from ppcls.optim.options import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Cyclic,
    Linear,
    Momentum,
    MultiStepDecay,
    OneCycle,
    OptimizerBase,
    Piecewise,
    ReduceOnPlateau,
    RMSProp,
    ScheduleOptions,
    Step,
)

__all__ = ["build_optimizer", "fit_to_batch", "learning_rate_schedule"]

Curve = Callable[[int], float]


def _cyclic(options: Cyclic) -> Curve:
    up = options.step_size_up
    down = options.step_size_down or up

    def rate(t: int) -> float:
        cycle, place = divmod(t, up + down)
        share = place / up if place <= up else (up + down - place) / down
        if options.mode == "triangular2":
            share *= 0.5**cycle
        elif options.mode == "exp_range":
            share *= options.exp_gamma**t
        low = options.base_learning_rate
        return low + (options.max_learning_rate - low) * share

    return rate


def _one_cycle(options: OneCycle, total: int) -> Curve:
    rise = options.phase_pct * total - 1
    if rise <= 0:
        raise ConfigError(
            f"Optimizer.lr.phase_pct: {options.phase_pct:g} of the {total} "
            f"{'epochs' if options.by_epoch else 'steps'} after the warm-up leaves no rise; "
            f"expected more than {1 / total:g}"
        )
    low, high = options.max_learning_rate / options.divide_factor, options.max_learning_rate
    times, rates = [0.0, rise, total - 1], [low, high, options.end_learning_rate]
    if options.three_phase:
        times.insert(2, 2 * rise)
        rates.insert(2, low)

    def rate(t: int) -> float:
        phase = max(1, bisect.bisect_left(times, t))
        share = (t - times[phase - 1]) / (times[phase] - times[phase - 1])
        if options.anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return rates[phase - 1] + (rates[phase] - rates[phase - 1]) * share

    return rate


def _plateau_rate(options: ReduceOnPlateau, watched: Sequence[float]) -> float:
    """Return the rate after these evaluations."""
    sign = 1 if options.mode == "max" else -1
    rate, best, worse, resting = options.learning_rate, -math.inf, 0, 0
    for value in watched:
        if resting:
            resting -= 1
            continue
        score = sign * value
        relative = options.threshold_mode == "rel" and math.isfinite(best)
        margin = options.threshold * (abs(best) if relative else 1)
        if score > best + margin:
            best, worse = score, 0
        else:
            worse += 1
        if worse > options.patience:
            rate = max(rate * options.factor, options.min_lr)
            worse, resting = 0, options.cooldown
    return rate


def _curve(options: ScheduleOptions, total: int, per_epoch: int, watched: Sequence[float]) -> Curve:
    """Return the rate at time t after the warm-up, for `total` times, `per_epoch` an epoch."""
    if isinstance(options, Cosine):
        height = options.learning_rate - options.eta_min
        return lambda t: options.eta_min + height * (1 + math.cos(math.pi * t / total)) / 2
    if isinstance(options, Linear):
        height = options.learning_rate - options.end_lr
        return lambda t: options.end_lr + height * (1 - t / total) ** options.power
    if isinstance(options, Step):
        every = options.step_size * per_epoch
        return lambda t: options.learning_rate * options.gamma ** (t // every)
    if isinstance(options, MultiStepDecay):
        passed = options.milestones
        return lambda t: (
            options.learning_rate * options.gamma ** bisect.bisect(passed, t // per_epoch)
        )
    if isinstance(options, Piecewise):
        count = len(options.decay_epochs) + 1
        rates = options.values or [options.learning_rate / 10**i for i in range(count)]
        return lambda t: rates[bisect.bisect(options.decay_epochs, t // per_epoch)]
    if isinstance(options, Cyclic):
        return _cyclic(options)
    if isinstance(options, OneCycle):
        return _one_cycle(options, total)
    if isinstance(options, ReduceOnPlateau):
        rate = _plateau_rate(options, watched)
        return lambda t: rate
    assert isinstance(options, Constant)
    return lambda t: options.learning_rate


def learning_rate_schedule(
    options: ScheduleOptions, epochs: int, steps_per_epoch: int, watched: Sequence[float] = ()
) -> Callable[[int], float]:
    """Return the learning rate as a function of the step, counted from 0 over the whole run.

    During the first `warmup_epoch` epochs the rate rises linearly to the schedule's first value.
    The schedule begins after them, as in the published code: a cosine fills the epochs that are
    left, and `decay_epochs` count from there.

    Args:
        options: one of the schedules of the configuration.
        epochs: of the whole run.
        steps_per_epoch: steps in each.
        watched: for `ReduceOnPlateau`, what it watched in each evaluation after the warm-up; the
            rate is the one that follows from them.

    Raises:
        ConfigError: the run is too short for the schedule.
    """
    per_epoch = 1 if options.by_epoch else steps_per_epoch
    warmup = options.warmup_epoch * per_epoch
    curve = _curve(options, epochs * per_epoch - warmup, per_epoch, watched)
    start = options.warmup_start_lr

    def rate(step: int) -> float:
        time = step // steps_per_epoch if options.by_epoch else step
        if time < warmup:
            return start + (curve(0) - start) * time / warmup
        return curve(time - warmup)

    return rate


def _decays(options: OptimizerBase, model: nn.Layer) -> dict[str, bool]:
    """Say of each parameter, by its structured name, whether it decays.

    Raises:
        ConfigError: a part of `no_weight_decay_name` is in no parameter's name.
    """
    parameters = dict(model.named_parameters())
    parts = (options.no_weight_decay_name or "").split()
    for part in parts:
        if not any(part in name for name in parameters):
            words = {word for name in parameters for word in name.split(".")}
            raise ConfigError(
                f"Optimizer.no_weight_decay_name: no parameter of the model has {part!r} in its "
                f"name{did_you_mean(part, sorted(words))}"
            )
    return {
        name: not any(part in name for part in parts)
        and not (options.one_dim_param_no_weight_decay and len(parameter.shape) == 1)
        for name, parameter in parameters.items()
    }


def build_optimizer(options: OptimizerBase, model: nn.Layer) -> paddle.optimizer.Optimizer:
    """Return the optimizer over a model's parameters; the training loop sets its learning rate.

    A penalty is set on the model's parameters themselves (`regularizer`), one for each: parameter
    groups would clip the norm of each group alone.

    Raises:
        ConfigError: `no_weight_decay_name` names no parameter.
    """
    decays = _decays(options, model)
    penalty: WeightDecayRegularizer | None = None
    if options.regularizer:
        kind = {"L1": L1Decay, "L2": L2Decay}[options.regularizer.name]
        penalty = kind(options.regularizer.coeff)
    elif options.weight_decay is not None and not isinstance(options, AdamW):
        penalty = L2Decay(options.weight_decay)
    for name, parameter in model.named_parameters():
        parameter.regularizer = penalty if decays[name] else None
    common: dict[str, Any] = {
        "learning_rate": 0.0,
        "parameters": [p for p in model.parameters() if not p.stop_gradient],
        "grad_clip": options.clip_norm and nn.ClipGradByGlobalNorm(options.clip_norm),
    }
    if isinstance(options, SGD):
        return paddle.optimizer.SGD(**common)
    if isinstance(options, Momentum):
        return paddle.optimizer.Momentum(
            momentum=options.momentum, use_nesterov=options.use_nesterov, **common
        )
    if isinstance(options, RMSProp):
        return paddle.optimizer.RMSProp(
            momentum=options.momentum, rho=options.rho, epsilon=options.epsilon, **common
        )
    assert isinstance(options, (Adam, AdamW))
    common |= {"beta1": options.beta1, "beta2": options.beta2, "epsilon": options.epsilon}
    if isinstance(options, Adam):
        return paddle.optimizer.Adam(**common)
    decaying = {p.name for name, p in model.named_parameters() if decays[name]}
    return paddle.optimizer.AdamW(
        weight_decay=options.weight_decay or 0.0,
        apply_decay_param_fun=decaying.__contains__,
        **common,
    )


_RATES = (
    "learning_rate",
    "warmup_start_lr",
    "end_lr",
    "eta_min",
    "min_lr",
    "base_learning_rate",
    "max_learning_rate",
    "end_learning_rate",
)


def fit_to_batch(schedule: ScheduleOptions, batch: int) -> tuple[ScheduleOptions, str | None]:
    """Return a schedule for steps of `batch` images over all devices, and what to say about it.

    The schedule changes with `auto_scale` alone; without it, a batch other than its
    `reference_batch` is a warning.
    """
    if schedule.reference_batch in (None, batch):
        return schedule, None
    factor = batch / schedule.reference_batch  # type: ignore[operator]
    options = schedule.model_dump()
    rates: dict[str, Any] = {
        key: options[key] * factor for key in _RATES if options.get(key) is not None
    }
    if options.get("values"):
        rates["values"] = [rate * factor for rate in options["values"]]
    steps = f"steps of {batch} images, and reference_batch is {schedule.reference_batch}"
    if schedule.auto_scale:
        return schedule.model_copy(update=rates), f"learning rates times {factor:g}: {steps}"
    first = {name: rate for name, rate in rates.items() if rate}
    numbers = ", ".join(
        f"Optimizer.lr.{name}="
        + (f"[{', '.join(f'{r:g}' for r in rate)}]" if isinstance(rate, list) else f"{rate:g}")
        for name, rate in first.items()
    )
    return schedule, (
        f"warning: the learning rates are not made for this batch: {steps}. "
        f"Optimizer.lr.auto_scale=true scales them, as does {numbers}"
    )
