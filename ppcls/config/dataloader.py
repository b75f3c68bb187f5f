"""The section `DataLoader`: data sets, samplers and loaders, typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ppcls.config.sampler import EvalSampler, SamplerOptions
from ppcls.config.types import PathText
from ppcls.data.mix import MixOp
from ppcls.data.transforms import Pipeline, TransformOp
from ppcls.errors import ConfigError
from ppcls.options import Options


def refuse_random(ops: Sequence[Any], section: str) -> None:
    """Raise a ValueError if one of the operations draws random numbers."""
    drawn = [type(op).__name__ for op in ops if op.random]
    if drawn:
        raise ValueError(f"{drawn[0]} is random, which only training may be, not {section}")


def check_pipeline(ops: list) -> list:
    """Return the operations, or raise a ValueError if they cannot follow one another."""
    try:
        Pipeline(ops)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return ops


class ImageNetDataset(Options):
    """Images named by a list file: `path<delimiter>label` on each line."""

    name: Literal["ImageNetDataset"] = "ImageNetDataset"
    image_root: PathText
    cls_label_path: PathText
    delimiter: Annotated[str, Field(min_length=1)] = " "
    transform_ops: Annotated[list[TransformOp], Field(min_length=1)]
    batch_transform_ops: list[MixOp] = []

    _pipeline = field_validator("transform_ops")(check_pipeline)


class LoaderOptions(Options):
    """How batches are prepared.

    Workers are threads, which share all memory: `use_shared_memory` is true or false alike.
    """

    num_workers: Annotated[int, Field(ge=0)] = 2
    use_shared_memory: bool = True


class TrainData(Options):
    """What is trained on, in which batches, prepared by how many workers."""

    dataset: ImageNetDataset
    sampler: SamplerOptions
    loader: LoaderOptions = LoaderOptions()


class EvalData(Options):
    """What is evaluated on: all of it, once."""

    dataset: ImageNetDataset
    sampler: EvalSampler
    loader: LoaderOptions = LoaderOptions()


DataOptions = TrainData | EvalData


class DataLoaders(Options):
    """The data to train on and the data to evaluate on."""

    Train: TrainData | None = None
    Eval: EvalData | None = None

    @model_validator(mode="after")
    def _eval_draws_nothing(self) -> DataLoaders:
        if self.Eval:
            refuse_random(self.Eval.dataset.transform_ops, "DataLoader.Eval")
            if self.Eval.dataset.batch_transform_ops:
                raise ValueError("Eval.dataset.batch_transform_ops: mixing is for training alone")
        return self
