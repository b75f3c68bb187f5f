"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Paddle is not needed to read or check one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ppcls.cards import list_models, model_card
from ppcls.data.mix import MixOp
from ppcls.data.transforms import Pipeline, TransformOp
from ppcls.errors import ConfigError, did_you_mean
from ppcls.options import OneKey, Options, one_of

__all__ = ["Config"]

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


PathText = Annotated[str, AfterValidator(_expand)]
"""A path (or URL), with `~` and `$VARIABLE` replaced by what they stand for."""


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


class GlobalOptions(Options):
    """What holds for a whole run."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    output_dir: PathText = "./output"
    checkpoints: PathText | None = None
    pretrained_model: PathText | None = None
    strict: bool = True
    epochs: Count = 120
    eval_during_train: bool = True
    eval_interval: Count = 1
    save_interval: Count = 1
    print_batch_step: Count = 10
    use_visualdl: bool = False
    image_shape: Annotated[list[Count], Field(min_length=3, max_length=3)] = [3, 224, 224]
    save_inference_dir: PathText = "./inference"


class ArchOptions(Options):
    """Which model."""

    name: str
    class_num: Count = 1000
    dropout: Share | None = None
    pretrained: bool | str = False
    use_ssld: bool = False

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in list_models():
            raise ValueError(f"no such architecture{did_you_mean(name, list_models())}")
        return name

    @model_validator(mode="after")
    def _has_dropout(self) -> ArchOptions:
        if self.dropout is not None and model_card(self.name).dropout is None:
            raise ValueError(f"{self.name} has no dropout")
        return self

    @model_validator(mode="after")
    def _ssld_of_what(self) -> ArchOptions:
        if self.use_ssld and self.pretrained is not True:
            raise ValueError("use_ssld chooses among the published weights: set pretrained: true")
        return self


class CELoss(OneKey):
    """Cross entropy, times `weight`; `epsilon` smooths the targets, hard or soft.

    `class_weights`, one for each class, weigh what each class adds.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    epsilon: Share = 0.0
    class_weights: list[NotNegative] | None = None


class FocalLoss(OneKey):
    """Focal loss over the softmax, times `weight` (https://arxiv.org/abs/1708.02002).

    `gamma` takes weight from what is classified well already; `alpha` is one factor for all classes
    or a list of one for each.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    gamma: NotNegative = 2.0
    alpha: Annotated[float, Field(gt=0)] | list[NotNegative] = 1.0


LossTerm: Any = one_of(CELoss, FocalLoss)
"""The annotation of one entry of `Loss.Train` and `Loss.Eval`."""


class LossOptions(Options):
    Train: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]
    Eval: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]


class ScheduleOptions(Options):
    """What all schedules have: a linear warm-up, and whether they move within an epoch.

    For `warmup_epoch` epochs the rate rises from `warmup_start_lr` to the schedule's first rate;
    then the schedule begins, and epochs that it names count from there. With `by_epoch` both move
    once an epoch, else at every step.
    """

    name: str
    warmup_epoch: Annotated[int, Field(ge=0)] = 0
    warmup_start_lr: NotNegative = 0.0
    by_epoch: bool = False


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
    `exp_gamma` at each step. `scale_mode` follows from the mode; it may only confirm it.
    """

    name: Literal["Cyclic"]
    base_learning_rate: Rate
    max_learning_rate: Rate
    step_size_up: Count
    step_size_down: Count | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    exp_gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    scale_mode: Literal["cycle", "iterations"] | None = None

    @model_validator(mode="after")
    def _of_one_mode(self) -> Cyclic:
        _ordered(self, "base_learning_rate", "max_learning_rate")
        exponential = self.mode == "exp_range"
        if self.exp_gamma != 1 and not exponential:
            raise ValueError(f"exp_gamma goes with mode: exp_range, not {self.mode}")
        scale_mode = "iterations" if exponential else "cycle"
        if self.scale_mode not in (None, scale_mode):
            raise ValueError(f"mode: {self.mode} scales by {scale_mode}, not {self.scale_mode}")
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


class ImageNetDataset(Options):
    """Images named by a list file: `path<delimiter>label` on each line."""

    name: Literal["ImageNetDataset"] = "ImageNetDataset"
    image_root: PathText
    cls_label_path: PathText
    delimiter: Annotated[str, Field(min_length=1)] = " "
    transform_ops: Annotated[list[TransformOp], Field(min_length=1)]
    batch_transform_ops: list[MixOp] = []

    _pipeline = field_validator("transform_ops")(lambda ops: _check_pipeline(ops))


class Sampler(Options):
    """How samples become batches. `batch_size` is per device."""

    name: Literal["DistributedBatchSampler"] = "DistributedBatchSampler"
    batch_size: Count
    shuffle: bool = False
    drop_last: bool = False


class LoaderOptions(Options):
    """How batches are prepared.

    Workers are threads, which share all memory: `use_shared_memory` is true or false alike.
    """

    num_workers: Annotated[int, Field(ge=0)] = 2
    use_shared_memory: bool = True


class DataOptions(Options):
    dataset: ImageNetDataset
    sampler: Sampler
    loader: LoaderOptions = LoaderOptions()


class DataLoaders(Options):
    Train: DataOptions | None = None
    Eval: DataOptions | None = None

    @model_validator(mode="after")
    def _eval_draws_nothing(self) -> DataLoaders:
        if self.Eval:
            _refuse_random(self.Eval.dataset.transform_ops, "DataLoader.Eval")
            if self.Eval.dataset.batch_transform_ops:
                raise ValueError("Eval.dataset.batch_transform_ops: mixing is for training alone")
        return self


class Topk(Options):
    """The `topk` best classes of an image, named by the lines `label name` of a file."""

    name: Literal["Topk"] = "Topk"
    topk: Count = 5
    class_id_map_file: PathText | None = None


class InferOptions(Options):
    infer_imgs: PathText | None = None
    batch_size: Count = 32
    transforms: Annotated[list[TransformOp], Field(min_length=1)]
    PostProcess: Topk = Topk()

    @field_validator("transforms")
    @classmethod
    def _draws_nothing(cls, ops: list) -> list:
        _refuse_random(ops, "Infer")
        return ops

    _pipeline = field_validator("transforms")(lambda ops: _check_pipeline(ops))


class TopkAcc(OneKey):
    topk: Annotated[list[Count], Field(min_length=1)] = [1, 5]


def _none_is_empty(metrics: Any) -> Any:
    return [] if metrics is None else metrics


Metrics = Annotated[
    list[TopkAcc],
    BeforeValidator(_none_is_empty, json_schema_input_type=list[TopkAcc] | None),
]
"""Metrics; null means none."""


class MetricOptions(Options):
    Train: Metrics = [TopkAcc()]
    Eval: Metrics = [TopkAcc()]


class Config(Options):
    """A whole configuration. Sections that a command needs and lacks are named by that command."""

    Global: GlobalOptions = GlobalOptions()
    Arch: ArchOptions
    Loss: LossOptions = LossOptions()
    Optimizer: OptimizerOptions | None = None
    DataLoader: DataLoaders = DataLoaders()
    Infer: InferOptions | None = None
    Metric: MetricOptions = MetricOptions()

    @model_validator(mode="after")
    def _schedule_fits_the_run(self) -> Config:
        if self.Optimizer is None:
            return self
        lr = self.Optimizer.lr
        if lr.warmup_epoch >= self.Global.epochs:
            raise ValueError(
                f"Optimizer.lr.warmup_epoch ({lr.warmup_epoch}) leaves nothing of "
                f"Global.epochs ({self.Global.epochs})"
            )
        if isinstance(lr, ReduceOnPlateau) and not self.Global.eval_during_train:
            raise ValueError(
                "Optimizer.lr.name: ReduceOnPlateau watches the evaluations, which "
                "Global.eval_during_train: false leaves out"
            )
        return self

    @model_validator(mode="after")
    def _one_weight_a_class(self) -> Config:
        classes = self.Arch.class_num
        for section, terms in (("Train", self.Loss.Train), ("Eval", self.Loss.Eval)):
            for i, term in enumerate(terms):
                key = "alpha" if isinstance(term, FocalLoss) else "class_weights"
                weights = getattr(term, key)
                if isinstance(weights, list) and len(weights) != classes:
                    raise ValueError(
                        f"Loss.{section}.{i}.{type(term).__name__}.{key} has {len(weights)} "
                        f"entries; Arch.class_num is {classes}"
                    )
        return self


def _refuse_random(ops: Sequence[Any], section: str) -> None:
    drawn = [type(op).__name__ for op in ops if op.random]
    if drawn:
        raise ValueError(f"{drawn[0]} is random, which only training may be, not {section}")


def _check_pipeline(ops: list) -> list:
    try:
        Pipeline(ops)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return ops
