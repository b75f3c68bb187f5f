"""The section `Optimizer`: optimizers and learning rate schedules, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from ppcls.option_types import Count, Factor, NotNegative, Rate, Share
from ppcls.options import Options


def _ascending(epochs: list[int]) -> list[int]:
    if sorted(set(epochs)) != epochs:
        raise ValueError(f"must ascend; found {epochs}")
    return epochs


ScheduleT = TypeVar("ScheduleT", bound="ScheduleOptions")


def _ordered(options: ScheduleT, low: str, high: str) -> ScheduleT:
    below, above = getattr(options, low), getattr(options, high)
    if below >= above:
        raise ValueError(f"{low} ({below:g}) must be below {high} ({above:g})")
    return options


class ScheduleOptions(Options):
    """What all schedules have: a linear warm-up, and whether they move within an epoch.

    For `warmup_epoch` epochs the rate rises from `warmup_start_lr` to the schedule's first rate;
    then the schedule begins, and epochs that it names count from there. With `by_epoch` both move
    once an epoch, else at every step.

    The rates are meant for `reference_batch` images a step, over all devices. A run whose steps are
    of another size says so, and with `auto_scale` multiplies all rates by the quotient
    (https://arxiv.org/abs/1706.02677).
    """

    name: str
    warmup_epoch: Annotated[int, Field(ge=0)] = 0
    warmup_start_lr: NotNegative = 0.0
    by_epoch: bool = False
    reference_batch: Count | None = None
    auto_scale: bool = False

    @model_validator(mode="after")
    def _scale_from_what(self) -> ScheduleOptions:
        if self.auto_scale and self.reference_batch is None:
            raise ValueError("auto_scale needs reference_batch, the images a step of these rates")
        return self


class Constant(ScheduleOptions):
    """Always `learning_rate`."""

    name: Literal["Constant"]
    learning_rate: Rate


class Linear(ScheduleOptions):
    """From `learning_rate` to `end_lr` at the end of the run, along a polynomial of `power`."""

    name: Literal["Linear"]
    learning_rate: Rate
    end_lr: NotNegative = 0.0
    power: Rate = 1.0

    @model_validator(mode="after")
    def _falls(self) -> Linear:
        return _ordered(self, "end_lr", "learning_rate")


class Cosine(ScheduleOptions):
    """From `learning_rate` to `eta_min` along half a cosine (https://arxiv.org/abs/1608.03983)."""

    name: Literal["Cosine"]
    learning_rate: Rate
    eta_min: NotNegative = 0.0

    @model_validator(mode="after")
    def _falls(self) -> Cosine:
        return _ordered(self, "eta_min", "learning_rate")


class Step(ScheduleOptions):
    """`learning_rate`, times `gamma` every `step_size` epochs."""

    name: Literal["Step"]
    learning_rate: Rate
    step_size: Count
    gamma: Factor = 0.1


class MultiStepDecay(ScheduleOptions):
    """`learning_rate`, times `gamma` at each of the `milestones` (epochs)."""

    name: Literal["MultiStepDecay"]
    learning_rate: Rate
    milestones: Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
    gamma: Factor = 0.1


class Piecewise(ScheduleOptions):
    """`values[i]` from `decay_epochs[i - 1]` to `decay_epochs[i]`.

    Without `values`, `learning_rate` divided by ten at each of the `decay_epochs`; beside them,
    `learning_rate` may only repeat the first.
    """

    name: Literal["Piecewise"]
    decay_epochs: Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
    values: list[Rate] | None = None
    learning_rate: Rate | None = None

    @model_validator(mode="after")
    def _one_more(self) -> Piecewise:
        if self.values is None:
            if self.learning_rate is None:
                raise ValueError("set values, or a learning_rate to divide by ten")
        elif len(self.values) != len(self.decay_epochs) + 1:
            raise ValueError("values must be one more than decay_epochs")
        elif self.learning_rate not in (None, self.values[0]):
            raise ValueError(
                f"learning_rate ({self.learning_rate:g}) contradicts values[0] "
                f"({self.values[0]:g}); leave one of them out"
            )
        return self


class Cyclic(ScheduleOptions):
    """Up and down between two rates (https://arxiv.org/abs/1506.01186).

    `step_size_up` and `step_size_down` (by default equal) count steps, or epochs with `by_epoch`.
    The mode `triangular2` halves the height with each cycle, `exp_range` multiplies it by
    `exp_gamma` at each step.
    """

    name: Literal["Cyclic"]
    base_learning_rate: Rate
    max_learning_rate: Rate
    step_size_up: Count
    step_size_down: Count | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    exp_gamma: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _of_one_mode(self) -> Cyclic:
        _ordered(self, "base_learning_rate", "max_learning_rate")
        if self.exp_gamma != 1 and self.mode != "exp_range":
            raise ValueError(f"exp_gamma goes with mode: exp_range, not {self.mode}")
        return self


class OneCycle(ScheduleOptions):
    """One rise and fall over the whole run (https://arxiv.org/abs/1708.07120).

    From `max_learning_rate / divide_factor` up during the share `phase_pct` of the run, then down
    to `end_learning_rate`; with `three_phase` first down as long as up, then to the end.
    """

    name: Literal["OneCycle", "OneCycleLR"]
    max_learning_rate: Rate
    divide_factor: Annotated[float, Field(gt=1)] = 25.0
    end_learning_rate: NotNegative = 1e-10
    phase_pct: Factor = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    three_phase: bool = False

    @model_validator(mode="after")
    def _phases(self) -> OneCycle:
        if self.three_phase and self.phase_pct >= 0.5:
            raise ValueError(
                f"phase_pct ({self.phase_pct:g}) must be below 0.5 where three_phase is true"
            )
        return _ordered(self, "end_learning_rate", "max_learning_rate")


class ReduceOnPlateau(ScheduleOptions):
    """`learning_rate`, times `factor` when evaluations stop getting better.

    With mode `min` their loss is watched, with `max` their top-1 accuracy. An evaluation is better
    if it beats the best by `threshold`, a share of it (`rel`) or as it is (`abs`). More than
    `patience` that are not, one after the other, reduce the rate, not below `min_lr`; then
    `cooldown` evaluations are not looked at, as those during the warm-up are not.
    """

    name: Literal["ReduceOnPlateau"]
    learning_rate: Rate
    mode: Literal["min", "max"] = "min"
    factor: Factor = 0.1
    patience: Annotated[int, Field(ge=0)] = 10
    threshold: NotNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Annotated[int, Field(ge=0)] = 0
    min_lr: NotNegative = 0.0

    @model_validator(mode="after")
    def _falls(self) -> ReduceOnPlateau:
        return _ordered(self, "min_lr", "learning_rate")


def _first_rate(schedule: Any) -> float:
    if isinstance(schedule, Piecewise) and schedule.values:
        return schedule.values[0]
    if isinstance(schedule, Cyclic):
        return schedule.base_learning_rate
    if isinstance(schedule, OneCycle):
        return schedule.max_learning_rate / schedule.divide_factor
    return schedule.learning_rate


def _warmup_rises(schedule: Any) -> Any:
    start, first = schedule.warmup_start_lr, _first_rate(schedule)
    if start and not schedule.warmup_epoch:
        raise ValueError(f"warmup_start_lr ({start:g}) has no effect without warmup_epoch")
    if start >= first:
        raise ValueError(
            f"warmup_start_lr ({start:g}) must be below the schedule's first rate ({first:g})"
        )
    return schedule


Schedule = Annotated[
    Constant
    | Linear
    | Cosine
    | Step
    | Piecewise
    | MultiStepDecay
    | Cyclic
    | OneCycle
    | ReduceOnPlateau,
    Field(discriminator="name"),
    AfterValidator(_warmup_rises),
]


class Regularizer(Options):
    """A penalty on the weights w: `coeff * |w|` (L1) or `coeff / 2 * w²` (L2)."""

    name: Literal["L1", "L2"]
    coeff: NotNegative


class OptimizerBase(Options):
    """What all optimizers have.

    `regularizer` adds the gradient of a penalty to that of the loss; `weight_decay` is short for L2
    with that coefficient, but for AdamW, which takes it off the weights directly. `clip_norm`
    limits the norm of all gradients together, before a penalty is added.
    `one_dim_param_no_weight_decay` and `no_weight_decay_name` (parts of names in the state_dict,
    separated by spaces) except parameters from either decay.
    """

    name: str
    lr: Schedule
    regularizer: Regularizer | None = None
    weight_decay: NotNegative | None = None
    clip_norm: Rate | None = None
    one_dim_param_no_weight_decay: bool = False
    no_weight_decay_name: str | None = None

    @model_validator(mode="after")
    def _one_decay(self) -> OptimizerBase:
        if self.regularizer is not None and self.weight_decay is not None:
            raise ValueError("set one of regularizer and weight_decay, not both")
        if self.regularizer is None and self.weight_decay is None:
            for key in ("one_dim_param_no_weight_decay", "no_weight_decay_name"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} has nothing to except from: set regularizer or weight_decay"
                    )
        return self


class SGD(OptimizerBase):
    """Plain stochastic gradient descent."""

    name: Literal["SGD"]


class Momentum(OptimizerBase):
    """Gradient descent with momentum, as Nesterov's with `use_nesterov`."""

    name: Literal["Momentum"]
    momentum: Share = 0.9
    use_nesterov: bool = False


class Adam(OptimizerBase):
    """Adam (https://arxiv.org/abs/1412.6980)."""

    name: Literal["Adam"]
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Rate = 1e-8


class AdamW(OptimizerBase):
    """Adam with decoupled weight decay (https://arxiv.org/abs/1711.05101).

    `weight_decay` is 0.01 where neither it nor a regularizer is set.
    """

    name: Literal["AdamW"]
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Rate = 1e-8

    @model_validator(mode="before")
    @classmethod
    def _default_decay(cls, options: Any) -> Any:
        if not isinstance(options, dict) or options.get("regularizer") is not None:
            return options
        if options.get("weight_decay", 0) is None:
            raise ValueError("weight_decay: null is not a number; 0 is no weight decay")
        return {"weight_decay": 0.01} | options


class RMSProp(OptimizerBase):
    """Gradients divided by the root of their running mean square, with momentum.

    `rho` is the decay rate of that mean
    (https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf).
    """

    name: Literal["RMSProp"]
    momentum: Share = 0.0
    rho: Share = 0.95
    epsilon: Rate = 1e-6


OptimizerOptions = Annotated[SGD | Momentum | Adam | AdamW | RMSProp, Field(discriminator="name")]
