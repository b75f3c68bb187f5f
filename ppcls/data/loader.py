"""Batches of decoded images, which threads prepare ahead of the model.

Decoding and resizing release Python's global lock, so threads use all cores without the costs of
processes: no copies between address spaces, and no orphans after a killed run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from itertools import islice
from types import TracebackType
from typing import NamedTuple

import numpy as np

from ppcls.data.datasets import ImageDataset
from ppcls.data.map_ahead import map_ahead
from ppcls.data.samplers import Draw, Sampler
from ppcls.data.transforms.normalize import Affine
from ppcls.errors import ConfigError, DataError, ImageError

__all__ = ["Batch", "Loader", "Unreadable"]


class Unreadable(NamedTuple):
    """An unreadable sample: its index in the data set, and the error."""

    number: int
    error: ImageError


class Batch(NamedTuple):
    """Images with their labels.

    Attributes:
        images: (N, H, W, C), uint8, or float32 where transforms follow `NormalizeImage`.
        labels: classes int64 (N,), or for a multi-label data set float32 (N, C).
        indices: their indices in the data set, int64 (N,).
        unreadable: the samples that this batch lacks because they are unreadable.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    unreadable: tuple[Unreadable, ...] = ()


class Loader:
    """Iterate over the batches of an epoch, in the sampler's order.

    A skipped sample makes its batch smaller and changes no other batch.

    Args:
        dataset: the source of the samples.
        sampler: chooses the samples of each batch.
        num_workers: threads that prepare batches; 0 prepares each batch on demand.
        rank: rank of this process, which prepares its share of each joint batch.
        world_size: number of processes that share the work.

    Attributes:
        drawn: number of samples that all processes together draw in an epoch.
        unreadable: the samples left out so far in the current (or last) epoch.

    Raises:
        ConfigError: the sampler does not fit the labels, for example too few samples for one full
            batch with `drop_last`.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        sampler: Sampler,
        num_workers: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.dataset = dataset
        self.sampler = sampler
        self.num_workers = num_workers
        self.unreadable: list[Unreadable] = []
        self._labels = [sample.label for sample in dataset.samples]
        self._where = dataset.seed, rank, world_size
        self.drawn = len(sampler.order(self._labels, np.random.default_rng(0), world_size))
        self._steps = sum(1 for _ in sampler.places(self.drawn, rank, world_size))
        if sampler.drop_last and not self._steps:
            joint = f"{world_size} processes of " if world_size > 1 else ""
            raise ConfigError(
                f"DataLoader.Train: {self.drawn} images do not fill one batch of "
                f"{joint}{sampler.batch_size}, and sampler.drop_last drops the rest; "
                "-o DataLoader.Train.sampler.batch_size="
                f"{max(1, self.drawn // world_size // 2)} is one that fits"
            )
        self._running: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        return self._steps

    @property
    def affine(self) -> Affine:
        """The normalisation that the images still need, by channel (see `Normalize`)."""
        return self.dataset.pipeline.affine

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._running:
            self._running.close()

    def epoch(self, epoch: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, except the first `skip`.

        Raises:
            ImageError: a sample cannot be decoded, and `on_error` is `error`.
            DataError: the images of a batch have different sizes, a transform fails, or too many
                samples are skipped: a whole training batch, or too much of the epoch.
        """
        self.unreadable = []
        draws = self.sampler.draws(epoch, self._labels, *self._where)
        prepare = partial(self._prepare, epoch)
        self._running = map_ahead(prepare, islice(draws, skip, None), self.num_workers)
        for batch in self._running:
            self.unreadable += batch.unreadable
            if self.dataset.on_error == "skip":
                self._check_skipped(batch)
            yield batch

    def _prepare(self, epoch: int, draw: Draw) -> Batch:
        images: list[np.ndarray] = []
        read: list[int] = []
        unreadable = []
        for index, copy in zip(draw.indices.tolist(), draw.copies.tolist(), strict=True):
            try:
                images.append(self.dataset.load(index, epoch, copy))
                read.append(index)
            except ImageError as error:
                if self.dataset.on_error == "error":
                    raise
                unreadable.append(Unreadable(index, error))
        samples = self.dataset.samples
        for image, index in zip(images, read, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{samples[index].path}: its size after the transforms is "
                    f"{image.shape[1]}x{image.shape[0]}, while {samples[read[0]].path} has "
                    f"{images[0].shape[1]}x{images[0].shape[0]}; end the image operations with a "
                    "fixed size (CropImage, or ResizeImage with size)"
                )
        return Batch(
            np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8),
            self.dataset.labels(read),
            np.array(read, np.int64),
            tuple(unreadable),
        )

    def skipped(self) -> str:
        """Return a log line about the samples that the epoch left out."""
        return (
            f"skipped {len(self.unreadable)} of {len(self.dataset)} images: they cannot be read; "
            f"the last: {self.unreadable[-1].error}"
        )

    def _check_skipped(self, batch: Batch) -> None:
        skipped = len({each.number for each in self.unreadable})
        limit = self.dataset.max_skipped
        if skipped > limit * len(self.dataset):
            problem = (
                f"{skipped} of {len(self.dataset)} images cannot be read, more than the share of "
                f"{limit:g} that dataset.max_skipped allows"
            )
        elif not len(batch.indices):
            problem = "no image of a batch can be read"
        else:
            return
        examples = [str(each.error) for each in self.unreadable[-10:]]
        raise DataError(problem, *examples)
