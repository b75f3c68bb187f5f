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
    """How the loader prepares batches, and with how many threads."""

    num_workers: Annotated[int, Field(ge=0)] = 2


@follows_registries
class TrainData(Options):
    """The training set, its batches, and the loader."""

    dataset: DatasetOption
    sampler: SamplerOption
    loader: LoaderOptions = LoaderOptions()


@follows_registries
class EvalData(Options):
    """The validation set, of which every image is evaluated once."""

    dataset: DatasetOption
    sampler: DistributedEvalSampler
    loader: LoaderOptions = LoaderOptions()


@follows_registries
class DataLoaders(Options):
    """The training set and the validation set."""

    Train: TrainData | None = None
    Eval: EvalData | None = None

    @model_validator(mode="after")
    def _eval_draws_nothing(self) -> DataLoaders:
        if self.Eval:
            refuse_random(self.Eval.dataset.transform_ops, "DataLoader.Eval")
            if self.Eval.dataset.batch_transform_ops:
                raise ValueError("Eval.dataset.batch_transform_ops: mixing is only for training")
            if self.Eval.dataset.on_error == "skip":
                raise ValueError("Eval.dataset.on_error must be error or wrong, not skip")
        if self.Train and self.Train.dataset.may_lack_classes:
            raise ValueError("Train.dataset.allow_missing: only a validation folder may lack some")
        if self.Train and self.Train.dataset.on_error == "wrong":
            raise ValueError("Train.dataset.on_error must be error or skip, not wrong")
        return self


def refuse_among_images(
    folder: str | Path, data: DataLoaders, samples: Sequence[Sample] = ()
) -> None:
    """Stop before a command writes into a folder of images.

    Args:
        folder: the folder to write to.
        data: the data sets; the folder must not be one of their `image_root`.
        samples: images that must not be in the folder if it is inside an `image_root`.

    Raises:
        ConfigError: the folder is or holds such images.
    """
    place = Path(folder).resolve()
    roots = {Path(part.dataset.image_root).resolve() for part in (data.Train, data.Eval) if part}
    held: set[Path] = set()
    if any(place.is_relative_to(root) for root in roots):
        held = {Path(path).resolve() for path in {os.path.dirname(s.path) for s in samples}}
    if place in roots or any(path.is_relative_to(place) for path in held):
        raise ConfigError(
            f"{folder}: this folder holds images of the data set; choose another output folder"
        )
