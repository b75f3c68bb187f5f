"""The section `DataLoader`: data sets, samplers and loaders, for training and for evaluation."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ppcls.data.datasets import DatasetOption
from ppcls.data.lists import Label, Sample
from ppcls.data.samplers import DistributedEvalSampler, SamplerOption
from ppcls.data.transforms.pipeline import refuse_random
from ppcls.errors import ConfigError
from ppcls.options import Options
from ppcls.registry import follows_registries

__all__ = [
    "DataLoaders",
    "EvalData",
    "LoaderOptions",
    "TrainData",
    "refuse_among_images",
    "refuse_below_images",
]


class LoaderOptions(Options):
    """How the loader prepares batches, and with how many threads."""

    num_workers: Annotated[int, Field(ge=0, le=1024)] = 2


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


def refuse_below_images(
    folder: str | Path, data: DataLoaders, samples: Sequence[Sample] = ()
) -> None:
    """Stop before a run writes plots where they would be read as images of the data set.

    Args:
        folder: the folder to write to.
        data: the data sets; the folder must not be below one that is read without a list.
        samples: their images; the folder must not be below a folder that holds some, or beside
            class folders.

    Raises:
        ConfigError: the folder is, or is below, such a folder.
    """
    sets = [part.dataset for part in (data.Train, data.Eval) if part]
    read = {each.image_root for each in sets if each.source == each.image_root}
    labels: dict[str, set[Label]] = defaultdict(set)
    for sample in samples:
        labels[os.path.dirname(sample.path)].add(sample.label)
    read |= labels.keys()
    # Each class in a folder of its own: beside them, another folder is another class.
    classes = [path for path, found in labels.items() if len(found) == 1 and found != {-1}]
    around = Counter(os.path.dirname(os.path.abspath(path)) for path in classes)
    read |= {path for path, count in around.items() if count > 1}
    place = Path(folder).resolve()
    inside = next((p for p in map(Path, sorted(read)) if place.is_relative_to(p.resolve())), None)
    if inside is not None:
        raise ConfigError(
            f"{folder}: below {inside}, which holds images of the data set: plots would be read "
            "as images; set Global.output_dir to a folder outside"
        )
