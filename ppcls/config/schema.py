"""The configuration: every section and key, typed.

Sections and keys are those of PaddleClas 2.x. Paddle is not needed to read or check one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ppcls.cards import list_models, model_card
from ppcls.data.mix import MixOp
from ppcls.data.transforms import Pipeline, TransformOp
from ppcls.errors import ConfigError, did_you_mean
from ppcls.options import OneKey, Options

__all__ = ["Config"]

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


PathText = Annotated[str, AfterValidator(_expand)]
"""A path (or URL), with `~` and `$VARIABLE` replaced by what they stand for."""


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
    """Cross entropy, times `weight`; `epsilon` smooths the labels."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    epsilon: Share = 0.0


class LossOptions(Options):
    Train: Annotated[list[CELoss], Field(min_length=1)] = [CELoss()]
    Eval: Annotated[list[CELoss], Field(min_length=1)] = [CELoss()]


class Warmup(Options):
    """A linear rise from `warmup_start_lr`, before and within the schedule.

    All schedules are followed step by step, not epoch by epoch.
    """

    warmup_epoch: Annotated[int, Field(ge=0)] = 0
    warmup_start_lr: Annotated[float, Field(ge=0)] = 0.0


class Constant(Warmup):
    """Always `learning_rate`."""

    name: Literal["Constant"]
    learning_rate: Rate


class Cosine(Warmup):
    """From `learning_rate` to `eta_min` along half a cosine (https://arxiv.org/abs/1608.03983)."""

    name: Literal["Cosine"]
    learning_rate: Rate
    eta_min: Annotated[float, Field(ge=0)] = 0.0


class Piecewise(Warmup):
    """`values[i]` from `decay_epochs[i - 1]` to `decay_epochs[i]`."""

    name: Literal["Piecewise"]
    decay_epochs: Annotated[list[Count], Field(min_length=1)]
    values: list[Rate]

    @model_validator(mode="after")
    def _one_more(self) -> Piecewise:
        if len(self.values) != len(self.decay_epochs) + 1:
            raise ValueError("values must be one more than decay_epochs")
        if sorted(set(self.decay_epochs)) != self.decay_epochs:
            raise ValueError("decay_epochs must ascend")
        return self


Schedule = Annotated[Constant | Cosine | Piecewise, Field(discriminator="name")]


class Regularizer(Options):
    name: Literal["L2"]
    coeff: Annotated[float, Field(ge=0)]


class Momentum(Options):
    name: Literal["Momentum"]
    lr: Schedule
    momentum: Share = 0.9
    use_nesterov: bool = False
    regularizer: Regularizer | None = None


class AdamW(Options):
    name: Literal["AdamW"]
    lr: Schedule
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


OptimizerOptions = Annotated[Momentum | AdamW, Field(discriminator="name")]


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


class MetricOptions(Options):
    Train: list[TopkAcc] = [TopkAcc()]
    Eval: list[TopkAcc] = [TopkAcc()]


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
    def _warmup_ends(self) -> Config:
        if self.Optimizer and self.Optimizer.lr.warmup_epoch >= self.Global.epochs:
            raise ValueError(
                f"Optimizer.lr.warmup_epoch ({self.Optimizer.lr.warmup_epoch}) leaves nothing of "
                f"Global.epochs ({self.Global.epochs})"
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
