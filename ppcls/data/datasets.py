"""Data sets: their samples, and their transformed images with a random stream per sample."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from os.path import isfile
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from ppcls.data.folders import find_images, folder_classes, read_image_folder
from ppcls.data.image import read_file
from ppcls.data.lists import (
    Sample,
    missing_image,
    plain,
    raise_problems,
    read_lines,
    scan_image_list,
)
from ppcls.data.transforms.mix import MixOp
from ppcls.data.transforms.pipeline import Pipeline, TransformList
from ppcls.errors import DataError, PpclsError
from ppcls.options import Options, PathText, Share
from ppcls.registry import Registry

__all__ = [
    "BY_DATA",
    "DATASETS",
    "Dataset",
    "DatasetOption",
    "ImageDataset",
    "ImageFolder",
    "ImageNetDataset",
    "MultiLabelDataset",
    "UnlabeledDataset",
    "register_dataset",
]

BY_DATA = (
    "; --data DIR sets all paths to a folder that `ppcls data split DIR` or `ppcls data digits "
    "DIR` prepared"
)
"""Hint for a missing list: every command that reads the lists of a data set has `--data`."""


class _NamedBytes(io.BytesIO):
    """A file's bytes in memory; errors show the file's name."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data)
        self.name = name


class ImageDataset:
    """Labelled images, transformed.

    The random numbers of a sample depend on (seed, epoch, index, copy) alone, so neither the number
    of workers nor a resume changes a run.

    Args:
        samples: all samples, single-label or multi-label.
        pipeline: the transforms.
        seed: seed of the random numbers.
        on_error: whether a loader stops at an unreadable image (`error`), or leaves it out and
            reports it (`skip`, `wrong`).
        max_skipped: with `skip`, the share of the data set that an epoch may leave out.
        in_memory: keep the bytes of every file after the first read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        pipeline: Pipeline,
        seed: int = 0,
        *,
        on_error: Literal["error", "skip", "wrong"] = "error",
        max_skipped: float = 0.01,
        in_memory: bool = False,
    ):
        self.samples = samples
        self.pipeline = pipeline
        self.seed = seed
        self.on_error = on_error
        self.max_skipped = max_skipped
        self._kept: dict[int, bytes] | None = {} if in_memory else None

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int, epoch: int, copy: int = 0) -> np.ndarray:
        """Return the image of a sample, (H, W, C), transformed as copy number `copy`.

        It is uint8, or float32 where transforms follow `NormalizeImage`.

        Raises:
            ImageError: the file cannot be decoded.
            DataError: a transform fails.
        """
        path = self.samples[index].path
        rng = np.random.default_rng((self.seed, epoch, index, copy))
        try:
            return self.pipeline(path if self._kept is None else self._bytes(index), rng)
        except PpclsError:
            raise
        except Exception as error:  # OpenCV's errors name neither the file nor the operation
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise DataError(f"{path}: a transform fails on this image: {what}") from error

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the labels of samples: classes int64 (N,), or multi-label float32 (N, C)."""
        labels = [self.samples[i].label for i in indices]
        return np.array(labels, np.int64 if isinstance(self.samples[0].label, int) else np.float32)

    def _bytes(self, index: int) -> _NamedBytes:
        assert self._kept is not None
        path = self.samples[index].path
        if index not in self._kept:
            self._kept[index] = read_file(path)
        return _NamedBytes(self._kept[index], path)


class Dataset(Options):
    """Options of every data set.

    `on_error` handles unreadable samples. `error` stops the run. In training, `skip` leaves such a
    sample out of its batch, and stops the run when an epoch has skipped more than the share
    `max_skipped` of the data set (0.01). In evaluation, `wrong` counts it as a wrong prediction.

    `in_memory` keeps the encoded files in memory after the first read, which takes as much memory
    as the files are large. It avoids reading from a slow disk or network again, but not decoding.
    """

    labels: ClassVar[Literal["one", "several", "none"]] = "one"
    """The labels of an image: one class, any number of labels, or none."""

    name: str
    image_root: PathText
    transform_ops: TransformList
    batch_transform_ops: Annotated[
        list[MixOp],
        BeforeValidator(
            lambda ops: [] if ops is None else ops, json_schema_input_type=list[MixOp] | None
        ),
    ] = []
    on_error: Literal["error", "skip", "wrong"] = "error"
    max_skipped: Share | None = None
    in_memory: bool = False

    @model_validator(mode="after")
    def _limits_what_is_skipped(self) -> Dataset:
        if self.max_skipped is not None and self.on_error != "skip":
            raise ValueError("max_skipped has no effect without on_error: skip")
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
        """Return the valid samples, and one line for each problem.

        Raises:
            DataError: the list or folder as a whole cannot be used.
        """
        raise NotImplementedError

    def found_classes(self) -> list[str] | None:
        """Return the names of the classes, if the data set knows them.

        Raises:
            DataError: there is no such data set.
        """
        return None

    @property
    def may_lack_classes(self) -> bool:
        """Whether it may have fewer classes than the training set, when it is evaluated."""
        return False

    def with_classes(self, classes: list[str]) -> Dataset:
        """Return the data set with these classes as an option, if it has such an option."""
        return self

    def images(self, samples: Sequence[Sample], pipeline: Pipeline, seed: int) -> ImageDataset:
        """Return the transformed images of samples.

        Args:
            samples: samples that `scan` returned.
            pipeline: `transform_ops`, with sizes filled in (see `Config.pipeline`).
            seed: seed of the random numbers.
        """
        return ImageDataset(
            samples,
            pipeline,
            seed,
            on_error=self.on_error,
            max_skipped=0.01 if self.max_skipped is None else self.max_skipped,
            in_memory=self.in_memory,
        )


DATASETS = Registry("dataset", Dataset, default="ImageNetDataset", nested=True, required=("scan",))
register_dataset = DATASETS.register
DatasetOption = Annotated[Any, DATASETS]
"""The annotation of `DataLoader.Train.dataset` and `DataLoader.Eval.dataset`."""


class _ListDataset(Dataset):
    cls_label_path: PathText
    delimiter: Annotated[str, Field(min_length=1)] | None = None

    _default_delimiter: ClassVar[str] = " "

    @model_validator(mode="after")
    def _delimits_something(self) -> _ListDataset:
        if self.delimiter is not None and self.cls_label_path.lower().endswith((".csv", ".jsonl")):
            raise ValueError("delimiter is for .txt lists only; .csv and .jsonl need none")
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
            multi_label=self.labels == "several",
            set_by="Arch.class_num",
            hint=BY_DATA,
        )


@DATASETS.register
class ImageNetDataset(_ListDataset):
    """Images from a list, with one class each.

    The list is a `.txt` file of `path<delimiter>label` lines (by default, the delimiter is a
    space), a `.csv` file with the columns `path` and `label`, or a `.jsonl` file of
    `{"path": …, "label": …}` lines. It is UTF-8, with paths relative to `image_root`.
    """

    name: Literal["ImageNetDataset"] = "ImageNetDataset"


@DATASETS.register
class MultiLabelDataset(_ListDataset):
    """Images from a list, with 0 or 1 for each class: `path<delimiter>0,1,0`.

    The list has the same formats as in `ImageNetDataset`. In `.txt` the default delimiter is a tab;
    in `.jsonl` the label is a list.
    """

    name: Literal["MultiLabelDataset"]

    labels: ClassVar[Literal["several"]] = "several"
    _default_delimiter: ClassVar[str] = "\t"


@DATASETS.register
class ImageFolder(Dataset):
    """A folder with one sub-folder of images per class.

    `classes` names the sub-folders in the order of their labels. Without it, all sub-folders are
    classes, sorted by name, and a training run writes them into its configuration. With
    `allow_missing`, a validation folder may lack classes of the training folder.
    """

    name: Literal["ImageFolder"]
    classes: Annotated[list[str], Field(min_length=2)] | None = None
    allow_missing: bool = False

    @field_validator("classes")
    @classmethod
    def _differ(cls, classes: list[str] | None) -> list[str] | None:
        twice = [name for name, count in Counter(classes or []).items() if count > 1]
        if twice:
            raise ValueError(f"duplicate class {twice[0]!r}")
        return classes

    def found_classes(self) -> list[str]:
        """Return `classes`, or the class folders if it is not set.

        Raises:
            DataError: no such folder, or it does not hold class folders.
        """
        return self.classes or folder_classes(self.image_root, self.allow_missing)

    @property
    def may_lack_classes(self) -> bool:
        """The option `allow_missing`."""
        return self.allow_missing

    def with_classes(self, classes: list[str]) -> ImageFolder:
        """Return the data set with these classes."""
        return self.model_copy(update={"classes": classes})

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images of the class folders."""
        samples = read_image_folder(self.image_root, class_num, self.classes, self.allow_missing)
        return samples, []


@DATASETS.register
class UnlabeledDataset(Dataset):
    """Images without labels for distillation: all in a folder, or those in a list.

    The list is a UTF-8 text file with one path a line, relative to `image_root`.
    """

    labels: ClassVar[Literal["none"]] = "none"

    name: Literal["UnlabeledDataset"]
    cls_label_path: PathText | None = None

    @property
    def source(self) -> str:
        """The list that names the images, or the folder that holds them."""
        return self.cls_label_path or self.image_root

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images, all with the label -1, and a line for each missing one.

        Raises:
            DataError: there is no such folder or list, or no image in it.
        """
        root = Path(self.image_root)
        if self.cls_label_path is None:
            if not root.is_dir():
                raise DataError(f"{root}: no such folder")
            paths = [str(path) for path in find_images(root)]
            problems = [f"{plain(path)}: not an image file" for path in paths if not isfile(path)]
        else:
            source = Path(self.cls_label_path)
            lines = read_lines(source, "image list", BY_DATA)
            paths = [os.path.join(root, line) for _, line in lines]
            problems = [
                f"{source}:{number}: {''.join(missing_image(line, str(root), source))}"
                for (number, line), path in zip(lines, paths, strict=True)
                if not isfile(path)
            ]
        if not paths:
            raise DataError(f"{root}: no images in this folder")
        return [Sample(path, -1) for path in paths if isfile(path)], problems
