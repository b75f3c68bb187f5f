"""The section `DataLoader`: data sets, samplers and loaders, typed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Tag, field_validator, model_validator

from ppcls.data.folders import folder_classes, read_image_folder
from ppcls.data.image import find_images
from ppcls.data.lists import Sample, raise_problems, read_lines, scan_image_list
from ppcls.data.sampler_options import EvalSampler, SamplerOptions
from ppcls.data.transforms.base import TransformOp
from ppcls.data.transforms.mix import MixOp
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError, DataError
from ppcls.option_types import PathText, Share
from ppcls.options import Options, named
from ppcls.registry import follows_registries

BY_DATA = (
    "; --data DIR sets all paths to a folder that `ppcls data split DIR` or `ppcls data digits "
    "DIR` prepared"
)
"""The way out where a list is missing: all commands that read a data set's have the option."""


def refuse_random(ops: Sequence[Any], section: str) -> None:
    """Raise a ValueError if one of the operations draws random numbers."""
    drawn = [type(op).__name__ for op in ops if op.random]
    if drawn:
        raise ValueError(f"{drawn[0]} is random, which only training may be, not {section}")


def check_pipeline(ops: list) -> list:
    """Return the operations, or raise a ValueError if they cannot follow one another."""
    try:
        Pipeline(ops, image_size=(224, 224))  # any will do to see whether they fit together
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("transform_ops: ")) from None
    return ops


class DatasetBase(Options):
    """What all data sets have.

    `on_error` says what becomes of a sample that cannot be read. `error` stops; in training, `skip`
    leaves it out of its batch, and stops when more than `max_skipped` of the data set (0.01) have
    been skipped in an epoch; in evaluation, `wrong` counts it as answered wrongly.

    `in_memory` keeps the files' bytes once they are read, as they are: the sum of the file sizes.
    It spares a slow disk or network, and not the decoding.
    """

    name: str
    image_root: PathText
    transform_ops: Annotated[list[TransformOp], Field(min_length=1)]
    batch_transform_ops: list[MixOp] = []
    on_error: Literal["error", "skip", "wrong"] = "error"
    max_skipped: Share | None = None
    in_memory: bool = False

    _pipeline = field_validator("transform_ops")(check_pipeline)

    @model_validator(mode="after")
    def _limits_what_is_skipped(self) -> DatasetBase:
        if self.max_skipped is not None and self.on_error != "skip":
            raise ValueError("max_skipped has nothing to limit: set on_error: skip")
        return self

    @property
    def source(self) -> str:
        """The list or folder that names the samples."""
        return self.image_root

    def read(self, class_num: int) -> list[Sample]:
        """Return the samples.

        Raises:
            DataError: the list or folder is wrong; the first ten problems are named.
        """
        samples, problems = self.scan(class_num)
        raise_problems(problems)
        return samples

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the samples that are right, and what is wrong with the others, one line each.

        Raises:
            DataError: the list or folder as a whole cannot be used.
        """
        raise NotImplementedError


class _ListDataset(DatasetBase):
    cls_label_path: PathText
    delimiter: Annotated[str, Field(min_length=1)] | None = None

    _multi_label: ClassVar[bool] = False
    _default_delimiter: ClassVar[str] = " "

    @model_validator(mode="after")
    def _delimits_something(self) -> _ListDataset:
        if self.delimiter is not None and self.cls_label_path.lower().endswith((".csv", ".jsonl")):
            raise ValueError("delimiter is for .txt lists; .csv and .jsonl say it themselves")
        return self

    @property
    def source(self) -> str:
        return self.cls_label_path

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        return scan_image_list(
            self.cls_label_path,
            self.image_root,
            class_num,
            delimiter=self.delimiter or self._default_delimiter,
            multi_label=self._multi_label,
            set_by="Arch.class_num",
            hint=BY_DATA,
        )


@follows_registries
class ImageNetDataset(_ListDataset):
    """Images named by a list, one class each.

    The list is a `.txt` file of `path<delimiter>label` lines (the delimiter is a space unless it is
    set), a `.csv` file with the columns `path` and `label`, or a `.jsonl` file of
    `{"path": …, "label": …}` lines; UTF-8, with paths relative to `image_root`.
    """

    name: Literal["ImageNetDataset"] = "ImageNetDataset"


@follows_registries
class MultiLabelDataset(_ListDataset):
    """Images named by a list, with 0 or 1 for each class: `path<delimiter>0,1,0`.

    The list has the forms of `ImageNetDataset`'s. In `.txt` the delimiter is a tab unless it is
    set; in `.jsonl` the label is a list.
    """

    name: Literal["MultiLabelDataset"]

    _multi_label: ClassVar[bool] = True
    _default_delimiter: ClassVar[str] = "\t"


@follows_registries
class ImageFolder(DatasetBase):
    """A folder with one sub-folder of images per class.

    `classes` names the sub-folders in the order of their labels. Without it they are all taken,
    sorted by name, and a training run writes what they came to into its configuration.
    """

    name: Literal["ImageFolder"]
    classes: Annotated[list[str], Field(min_length=2)] | None = None

    @field_validator("classes")
    @classmethod
    def _differ(cls, classes: list[str] | None) -> list[str] | None:
        twice = [name for name, count in Counter(classes or []).items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return classes

    def found_classes(self) -> list[str]:
        """Return `classes`, or without it those of the folder.

        Raises:
            DataError: no such folder, or not one of class folders.
        """
        return self.classes or folder_classes(self.image_root)

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images of the class folders."""
        return read_image_folder(self.image_root, class_num, self.classes), []


@follows_registries
class UnlabeledDataset(DatasetBase):
    """Images without labels, to distil with: all in a folder, or those that a list names.

    The list is a UTF-8 text file with a path on each line, relative to `image_root`.
    """

    name: Literal["UnlabeledDataset"]
    cls_label_path: PathText | None = None

    @property
    def source(self) -> str:
        """The list that names the images, or the folder that holds them."""
        return self.cls_label_path or self.image_root

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images, all with the label -1, and which of the list are missing."""
        root = Path(self.image_root)
        if self.cls_label_path is None:
            if not root.is_dir():
                raise DataError(f"{root}: no such folder")
            paths = find_images(root)
        else:
            lines = read_lines(Path(self.cls_label_path), "image list", BY_DATA)
            paths = [root / line for _, line in lines]
        if not paths:
            raise DataError(f"{root}: no images in this folder")
        missing = [f"{self.source}: no such image: {path}" for path in paths if not path.is_file()]
        return [Sample(str(path), -1) for path in paths if path.is_file()], missing


DatasetOptions = Annotated[
    Annotated[ImageNetDataset, Tag("ImageNetDataset")]
    | Annotated[MultiLabelDataset, Tag("MultiLabelDataset")]
    | Annotated[ImageFolder, Tag("ImageFolder")]
    | Annotated[UnlabeledDataset, Tag("UnlabeledDataset")],
    named("ImageNetDataset"),
]


class LoaderOptions(Options):
    """How batches are prepared, by how many threads."""

    num_workers: Annotated[int, Field(ge=0)] = 2


@follows_registries
class TrainData(Options):
    """What is trained on, in which batches, prepared by how many workers."""

    dataset: DatasetOptions
    sampler: SamplerOptions
    loader: LoaderOptions = LoaderOptions()


@follows_registries
class EvalData(Options):
    """What is evaluated on: all of it, once."""

    dataset: DatasetOptions
    sampler: EvalSampler
    loader: LoaderOptions = LoaderOptions()


DataOptions = TrainData | EvalData


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
                raise ValueError("Eval.dataset.on_error: an evaluation skips nothing: error, wrong")
        if self.Train and self.Train.dataset.on_error == "wrong":
            raise ValueError("Train.dataset.on_error: wrong is for evaluation: error, skip")
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
