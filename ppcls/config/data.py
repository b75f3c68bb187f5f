"""The section `DataLoader`: data sets, samplers and loaders, for training and for evaluation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ppcls.data.datasets import DatasetOption
from ppcls.data.lists import Sample
from ppcls.data.samplers import DistributedEvalSampler, SamplerOption
from ppcls.data.transforms.pipeline import refuse_random
from ppcls.errors import ConfigError
from ppcls.options import Options
from ppcls.registry import follows_registries

__all__ = ["DataLoaders", "EvalData", "LoaderOptions", "TrainData", "refuse_among_images"]


class LoaderOptions(Options):
    """How batches are prepared, by how many threads."""

    num_workers: Annotated[int, Field(ge=0)] = 2


@follows_registries
class TrainData(Options):
    """What is trained on, in which batches, prepared by how many workers."""

    dataset: DatasetOption
    sampler: SamplerOption
    loader: LoaderOptions = LoaderOptions()


@follows_registries
class EvalData(Options):
    """What is evaluated on: all of it, once."""

    dataset: DatasetOption
    sampler: DistributedEvalSampler
    loader: LoaderOptions = LoaderOptions()


@follows_registries
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
            if self.Eval.dataset.on_error == "skip":
                raise ValueError("Eval.dataset.on_error must be error or wrong, not skip")
        if self.Train and self.Train.dataset.on_error == "wrong":
            raise ValueError("Train.dataset.on_error must be error or skip, not wrong")
        return self


def refuse_among_images(
    folder: str | Path, data: DataLoaders, samples: Sequence[Sample] = ()
) -> None:
    """Stop before something is written where the images are.

    Args:
        folder: where to.
        data: the data sets, whose `image_root` it must not be.
        samples: images that must not be in it either, where it is inside an `image_root`.

    Raises:
        ConfigError: it is such a folder.
    """
    place = Path(folder).resolve()
    roots = {Path(part.dataset.image_root).resolve() for part in (data.Train, data.Eval) if part}
    held: set[Path] = set()
    if any(place.is_relative_to(root) for root in roots):
        held = {Path(path).resolve() for path in {os.path.dirname(s.path) for s in samples}}
    if place in roots or any(path.is_relative_to(place) for path in held):
        raise ConfigError(
            f"{folder}: the images of the data set are here; choose another folder to write to"
        )
