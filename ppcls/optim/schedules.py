"""Learning rate schedules."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator

from ppcls.errors import ConfigError
from ppcls.options import Count, Factor, Mismatch, Natural, NotNegative, Options, Positive
from ppcls.printable import counted
from ppcls.registry import Registry

__all__ = [
    "SCHEDULERS",
    "Constant",
    "Cosine",
    "Cyclic",
    "Linear",
    "MultiStepDecay",
    "OneCycle",
    "Piecewise",
    "Rate",
    "RateOrZero",
    "ReduceOnPlateau",
    "Schedule",
    "ScheduleOption",
    "Step",
    "register_scheduler",
]

_RATE = "learning rate"
Rate = Annotated[float, Field(gt=0), _RATE]
RateOrZero = Annotated[float, Field(ge=0), _RATE]
"""`Schedule.scaled` multiplies options of these types, and lists of them."""


def _holds_rates(annotation: Any) -> bool:
    return annotation == _RATE or any(map(_holds_rates, get_args(annotation)))


def _ascending(epochs: list[int]) -> list[int]:
    if sorted(set(epochs)) != epochs:
        raise ValueError(f"must ascend; found {epochs}")
    return epochs


Epochs = Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]

ScheduleT = TypeVar("ScheduleT", bound="Schedule")


def _ordered(schedule: ScheduleT, low: str, high: str) -> ScheduleT:
    below, above = getattr(schedule, low), getattr(schedule, high)
    if below >= above:
        raise ValueError(f"{low} ({below:g}) must be below {high} ({above:g})")
    return schedule


class Schedule(Options):
    """Options of every schedule: a linear warm-up, and updates by epoch or by step.

    For `warmup_epoch` epochs the rate rises from `warmup_start_lr` to the schedule's first rate.
    Then the schedule begins, and counts its epochs from there. With `by_epoch` the rate changes
    once an epoch, otherwise at every step.

    `reference_batch` states the batch size over all devices that the rates are made for. A run with
    another batch size prints a warning, or with `auto_scale` multiplies all rates by the quotient
    (https://arxiv.org/abs/1706.02677).
    """

    named_epochs: ClassVar[str | None] = None
    """The option that names epochs, which must lie within the run."""

    name: str
    warmup_epoch: Natural = 0
    warmup_start_lr: RateOrZero = 0.0
    by_epoch: bool = False
    reference_batch: Count | None = None
    auto_scale: bool = False

    @model_validator(mode="after")
    def _scale_from_what(self) -> Schedule:
        if self.auto_scale and self.reference_batch is None:
            raise ValueError("auto_scale needs reference_batch, the batch size of these rates")
        return self

    @property
    def first(self) -> float:
        """The rate at time 0, where the warm-up ends."""
        return self.rate(0, 10**9, 1, ())

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at a time, in steps or with `by_epoch` in epochs.

        Args:
            t: the time; 0 is the end of the warm-up.
            total: number of steps (or epochs) after the warm-up.
            per_epoch: number of steps (or epochs) in an epoch.
            watched: the metric that `watches` names, for each evaluation so far after the warm-up.

        Raises:
            ConfigError: the run is too short for the schedule.
        """
        raise NotImplementedError

    @property
    def watches(self) -> Literal["loss", "score"] | None:
        """The evaluation metric that the rate depends on; the score also chooses the best model."""
        return None

    def check_length(self, epochs: int) -> None:
        """Raise a ValueError if the schedule does not fit a run of this many epochs."""
        if self.warmup_epoch >= epochs:
            raise Mismatch(
                f"a warm-up of {counted(self.warmup_epoch, 'epoch')} leaves nothing of "
                f"Global.epochs ({epochs}); -o Optimizer.lr.warmup_epoch=0 fits",
                "Optimizer.lr.warmup_epoch",
                "Global.epochs",
            )
        at = getattr(self, self.named_epochs) if self.named_epochs else [0]
        if self.warmup_epoch + at[-1] >= epochs:
            warmup = f" after a warmup of {self.warmup_epoch}" if self.warmup_epoch else ""
            raise Mismatch(
                f"{at}{warmup} does not end within Global.epochs ({epochs}); a schedule for any "
                "number of epochs is -o 'Optimizer.lr={name: Cosine, learning_rate: 0.1}'",
                f"Optimizer.lr.{self.named_epochs}",
                "Global.epochs",
            )

    def curve(
        self, epochs: int, steps_per_epoch: int, watched: Sequence[float] = ()
    ) -> Callable[[int], float]:
        """Return the learning rate as a function of the step, counted from 0 over the whole run.

        The schedule begins after the warm-up, as in the published code: a cosine fills the
        remaining epochs, and `decay_epochs` count from there.

        Args:
            epochs: number of epochs of the whole run.
            steps_per_epoch: number of steps in each epoch.
            watched: the metric that `watches` names, for each evaluation so far after the warm-up.

        Raises:
            ConfigError: the run is too short for the schedule.
        """
        per_epoch = 1 if self.by_epoch else steps_per_epoch
        warmup = self.warmup_epoch * per_epoch
        total = epochs * per_epoch - warmup
        start, first = self.warmup_start_lr, self.rate(0, total, per_epoch, watched)

        def rate(step: int) -> float:
            time = step // steps_per_epoch if self.by_epoch else step
            if time < warmup:
                return start + (first - start) * time / warmup
            return self.rate(time - warmup, total, per_epoch, watched)

        return rate

    def scaled(self: ScheduleT, factor: float) -> ScheduleT:
        """Return the schedule with all rates multiplied by a factor."""
        update: dict[str, Any] = {}
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value is not None and any(map(_holds_rates, (field.annotation, *field.metadata))):
                many = isinstance(value, list)
                update[key] = [rate * factor for rate in value] if many else value * factor
        return self.model_copy(update=update)

    def fitted(self: ScheduleT, batch: int) -> tuple[ScheduleT, str | None]:
        """Return the schedule for a batch size over all devices, and a note for the user.

        `auto_scale` changes the schedule; without it, a batch size other than `reference_batch`
        makes the note a warning.
        """
        if self.reference_batch in (None, batch):
            return self, None
        factor = batch / self.reference_batch  # type: ignore[operator]
        steps = f"the batch size is {batch}, and reference_batch is {self.reference_batch}"
        if self.auto_scale:
            return self.scaled(factor), f"learning rates times {factor:g}: {steps}"
        return self, (
            f"warning: the learning rates are not made for this batch size: {steps}; "
            f"-o Optimizer.lr.auto_scale=true multiplies them by {factor:g}"
        )


SCHEDULERS = Registry("scheduler", Schedule, required=("rate",))
register_scheduler = SCHEDULERS.register


def _warmup_rises(schedule: Schedule) -> Schedule:
    start, first = schedule.warmup_start_lr, schedule.first
    if start and not schedule.warmup_epoch:
        raise ValueError(f"warmup_start_lr ({start:g}) has no effect without warmup_epoch")
    if start >= first:
        raise ValueError(
            f"warmup_start_lr ({start:g}) must be below the schedule's first rate ({first:g})"
        )
    return schedule


ScheduleOption = Annotated[Any, SCHEDULERS, AfterValidator(_warmup_rises)]
"""The annotation of `Optimizer.lr`."""


@SCHEDULERS.register
class Constant(Schedule):
    """Always `learning_rate`."""

    name: Literal["Constant"]
    learning_rate: Rate

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t."""
        return self.learning_rate


@SCHEDULERS.register
class Linear(Schedule):
    """Decay from `learning_rate` to `end_lr` over the run, as a polynomial of degree `power`."""

    name: Literal["Linear"]
    learning_rate: Rate
    end_lr: RateOrZero = 0.0
    power: Positive = 1.0

    @model_validator(mode="after")
    def _falls(self) -> Linear:
        return _ordered(self, "end_lr", "learning_rate")

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t of `total`."""
        return self.end_lr + (self.learning_rate - self.end_lr) * (1 - t / total) ** self.power


@SCHEDULERS.register
class Cosine(Schedule):
    """Half a cosine from `learning_rate` to `eta_min` (https://arxiv.org/abs/1608.03983)."""

    name: Literal["Cosine"]
    learning_rate: Rate
    eta_min: RateOrZero = 0.0

    @model_validator(mode="after")
    def _falls(self) -> Cosine:
        return _ordered(self, "eta_min", "learning_rate")

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t of `total`."""
        height = self.learning_rate - self.eta_min
        return self.eta_min + height * (1 + math.cos(math.pi * t / total)) / 2


@SCHEDULERS.register
class Step(Schedule):
    """Start at `learning_rate` and multiply by `gamma` every `step_size` epochs."""

    name: Literal["Step"]
    learning_rate: Rate
    step_size: Count
    gamma: Factor = 0.1

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t, `per_epoch` of them an epoch."""
        return self.learning_rate * self.gamma ** (t // (self.step_size * per_epoch))


@SCHEDULERS.register
class Piecewise(Schedule):
    """Use `values[i]` from `decay_epochs[i - 1]` to `decay_epochs[i]`.

    Without `values`, divide `learning_rate` by ten at each of the `decay_epochs`. With `values`,
    `learning_rate` may only repeat the first one.
    """

    named_epochs: ClassVar[str] = "decay_epochs"

    name: Literal["Piecewise"]
    decay_epochs: Epochs
    values: list[Rate] | None = None
    learning_rate: Rate | None = None

    @model_validator(mode="after")
    def _one_more(self) -> Piecewise:
        if self.values is None:
            if self.learning_rate is None:
                raise ValueError("set values, or a learning_rate to divide by ten")
        elif len(self.values) != len(self.decay_epochs) + 1:
            raise ValueError("values must have one entry more than decay_epochs")
        elif self.learning_rate not in (None, self.values[0]):
            raise ValueError(
                f"learning_rate ({self.learning_rate:g}) contradicts values[0] "
                f"({self.values[0]:g}); leave one of them out"
            )
        return self

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t, `per_epoch` of them an epoch."""
        phase = bisect.bisect(self.decay_epochs, t // per_epoch)
        if self.values:
            return self.values[phase]
        assert self.learning_rate is not None
        return self.learning_rate / 10**phase


@SCHEDULERS.register
class MultiStepDecay(Schedule):
    """Start at `learning_rate` and multiply by `gamma` at each of the `milestones` (epochs)."""

    named_epochs: ClassVar[str] = "milestones"

    name: Literal["MultiStepDecay"]
    learning_rate: Rate
    milestones: Epochs
    gamma: Factor = 0.1

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t, `per_epoch` of them an epoch."""
        return self.learning_rate * self.gamma ** bisect.bisect(self.milestones, t // per_epoch)


@SCHEDULERS.register
class Cyclic(Schedule):
    """Cycle between two rates (https://arxiv.org/abs/1506.01186).

    `step_size_up` and `step_size_down` (by default equal) count steps, or epochs with `by_epoch`.
    The mode `triangular2` halves the amplitude with each cycle; `exp_range` multiplies it by
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
            raise ValueError(f"exp_gamma needs mode: exp_range, not {self.mode}")
        return self

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t."""
        up = self.step_size_up
        down = self.step_size_down or up
        cycle, place = divmod(t, up + down)
        share = place / up if place <= up else (up + down - place) / down
        if self.mode == "triangular2":
            share *= 0.5**cycle
        elif self.mode == "exp_range":
            share *= self.exp_gamma**t
        low = self.base_learning_rate
        return low + (self.max_learning_rate - low) * share


@SCHEDULERS.register(aliases=("OneCycleLR",))
class OneCycle(Schedule):
    """One rise and fall over the whole run (https://arxiv.org/abs/1708.07120).

    The rate rises from `max_learning_rate / divide_factor` during the share `phase_pct` of the run,
    then falls to `end_learning_rate`. With `three_phase` it first falls back for as long as it
    rose, and then to `end_learning_rate`.
    """

    name: Literal["OneCycle", "OneCycleLR"]
    max_learning_rate: Rate
    divide_factor: Annotated[float, Field(gt=1)] = 25.0
    end_learning_rate: RateOrZero = 1e-10
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

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate at time t of `total`.

        Raises:
            ConfigError: `phase_pct` of the run is less than one step.
        """
        rise = self.phase_pct * total - 1
        if rise <= 0:
            raise ConfigError(
                f"Optimizer.lr.phase_pct: {self.phase_pct:g} of the {total} "
                f"{'epochs' if self.by_epoch else 'steps'} after the warm-up leaves no rise; "
                f"expected more than {1 / total:g}"
            )
        low, high = self.max_learning_rate / self.divide_factor, self.max_learning_rate
        times, rates = [0.0, rise, total - 1], [low, high, self.end_learning_rate]
        if self.three_phase:
            times.insert(2, 2 * rise)
            rates.insert(2, low)
        phase = max(1, bisect.bisect_left(times, t))
        share = (t - times[phase - 1]) / (times[phase] - times[phase - 1])
        if self.anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return rates[phase - 1] + (rates[phase] - rates[phase - 1]) * share


@SCHEDULERS.register
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` when evaluations stop improving.

    The mode `min` watches the loss of evaluations, `max` their top-1 accuracy. An evaluation is an
    improvement if it beats the best by `threshold`, relative to the best (`rel`) or absolute
    (`abs`). More than `patience` evaluations in a row without improvement reduce the rate, down to
    `min_lr` at most; then the next `cooldown` evaluations are ignored, like those of the warm-up.
    """

    name: Literal["ReduceOnPlateau"]
    learning_rate: Rate
    mode: Literal["min", "max"] = "min"
    factor: Factor = 0.1
    patience: Natural = 10
    threshold: NotNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Natural = 0
    min_lr: RateOrZero = 0.0

    @model_validator(mode="after")
    def _falls(self) -> ReduceOnPlateau:
        return _ordered(self, "min_lr", "learning_rate")

    @property
    def watches(self) -> Literal["loss", "score"]:
        """The evaluation metric that the rate depends on."""
        return "loss" if self.mode == "min" else "score"

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        """Return the rate after these evaluations."""
        sign = 1 if self.mode == "max" else -1
        rate, best, worse, resting = self.learning_rate, -math.inf, 0, 0
        for value in watched:
            if resting:
                resting -= 1
                continue
            score = sign * value
            relative = self.threshold_mode == "rel" and math.isfinite(best)
            margin = self.threshold * (abs(best) if relative else 1)
            if score > best + margin:
                best, worse = score, 0
            else:
                worse += 1
            if worse > self.patience:
                rate = max(rate * self.factor, self.min_lr)
                worse, resting = 0, self.cooldown
        return rate
