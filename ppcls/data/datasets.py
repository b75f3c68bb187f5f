"""Data sets: where samples come from, and their images, each with its own random numbers."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from ppcls.data.folders import folder_classes, read_image_folder
from ppcls.data.image import find_images
from ppcls.data.lists import Sample, raise_problems, read_lines, scan_image_list
from ppcls.data.transforms.mix import MixOp
from ppcls.data.transforms.pipeline import Pipeline, TransformList
from ppcls.errors import DataError, ImageError, PpclsError
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
"""The way out where a list is missing: all commands that read a data set's have the option."""


class _NamedBytes(io.BytesIO):
    """A file's bytes in memory; errors call it by the file's name."""

    def __init__(self, data: bytes, name: str):
        super().__init__(data)
        self.name = name


class ImageDataset:
    """Labelled images, transformed.

    The random numbers of a sample come from (seed, epoch, index, copy) alone, so a run is the same
    with any number of workers and after a resume.

    Args:
        samples: what there is, all with one class or all with several.
        pipeline: what becomes of an image.
        seed: of the random numbers.
        on_error: whether a loader stops at an image that cannot be read (`error`), or leaves it out
            and says so (`skip`, `wrong`).
        max_skipped: with `skip`, the share of the data set that an epoch may leave out.
        in_memory: keep the bytes of every file once it is read.
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
        """Return the image of a sample, (H, W, 3), transformed as copy number `copy`.

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
        """Return the labels of samples: classes int64 (N,), or of multi-label float32 (N, C)."""
        labels = [self.samples[i].label for i in indices]
        return np.array(labels, np.int64 if isinstance(self.samples[0].label, int) else np.float32)

    def _bytes(self, index: int) -> _NamedBytes:
        assert self._kept is not None
        path = self.samples[index].path
        if index not in self._kept:
            try:
                self._kept[index] = Path(path).read_bytes()
            except OSError as error:
                raise ImageError(f"cannot read the image: {error.strerror}", path) from None
        return _NamedBytes(self._kept[index], path)


class Dataset(Options):
    """What all data sets have.

    `on_error` says what becomes of a sample that cannot be read. `error` stops; in training, `skip`
    leaves it out of its batch, and stops when more than `max_skipped` of the data set (0.01) have
    been skipped in an epoch; in evaluation, `wrong` counts it as answered wrongly.

    `in_memory` keeps the files' bytes once they are read, as they are: the sum of the file sizes.
    It spares a slow disk or network, and not the decoding.
    """

    labels: ClassVar[Literal["one", "several", "none"]] = "one"
    """What each image has: one class, any number of labels, or none."""

    name: str
    image_root: PathText
    transform_ops: TransformList
    batch_transform_ops: list[MixOp] = []
    on_error: Literal["error", "skip", "wrong"] = "error"
    max_skipped: Share | None = None
    in_memory: bool = False

    @model_validator(mode="after")
    def _limits_what_is_skipped(self) -> Dataset:
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

    def found_classes(self) -> list[str] | None:
        """Return the names of the classes, if the data set knows them.

        Raises:
            DataError: there is no such data set.
        """
        return None

    def with_classes(self, classes: list[str]) -> Dataset:
        """Return the data set with the found classes written out, if it has an option for them."""
        return self

    def images(self, samples: Sequence[Sample], pipeline: Pipeline, seed: int) -> ImageDataset:
        """Return the transformed images of samples.

        Args:
            samples: of those that `scan` returns.
            pipeline: `transform_ops`, each with a size (see `Config.pipeline`).
            seed: of the random numbers.
        """
        return ImageDataset(
            samples,
            pipeline,
            seed,
            on_error=self.on_error,
            max_skipped=0.01 if self.max_skipped is None else self.max_skipped,
            in_memory=self.in_memory,
        )


DATASETS = Registry("dataset", Dataset, default="ImageNetDataset", nested=True)
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
            multi_label=self.labels == "several",
            set_by="Arch.class_num",
            hint=BY_DATA,
        )


@DATASETS.register
class ImageNetDataset(_ListDataset):
    """Images named by a list, one class each.

    The list is a `.txt` file of `path<delimiter>label` lines (the delimiter is a space unless it is
    set), a `.csv` file with the columns `path` and `label`, or a `.jsonl` file of
    `{"path": …, "label": …}` lines; UTF-8, with paths relative to `image_root`.
    """

    name: Literal["ImageNetDataset"] = "ImageNetDataset"


@DATASETS.register
class MultiLabelDataset(_ListDataset):
    """Images named by a list, with 0 or 1 for each class: `path<delimiter>0,1,0`.

    The list has the forms of `ImageNetDataset`'s. In `.txt` the delimiter is a tab unless it is
    set; in `.jsonl` the label is a list.
    """

    name: Literal["MultiLabelDataset"]

    labels: ClassVar[Literal["several"]] = "several"
    _default_delimiter: ClassVar[str] = "\t"


@DATASETS.register
class ImageFolder(Dataset):
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

    def with_classes(self, classes: list[str]) -> ImageFolder:
        """Return the data set with these classes."""
        return self.model_copy(update={"classes": classes})

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images of the class folders."""
        return read_image_folder(self.image_root, class_num, self.classes), []


@DATASETS.register
class UnlabeledDataset(Dataset):
    """Images without labels, to distil with: all in a folder, or those that a list names.

    The list is a UTF-8 text file with a path on each line, relative to `image_root`.
    """

    labels: ClassVar[Literal["none"]] = "none"

    name: Literal["UnlabeledDataset"]
    cls_label_path: PathText | None = None

    @property
    def source(self) -> str:
        """The list that names the images, or the folder that holds them."""
        return self.cls_label_path or self.image_root

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the images, all with the label -1, and which of the list are missing.

        Raises:
            DataError: there is no such folder or list, or no image in it.
        """
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
