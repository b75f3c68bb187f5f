"""Batches of decoded images, prepared ahead of the model by threads.

OpenCV decodes and resizes without holding Python's global lock, so threads use all cores without
what processes cost: no copies between address spaces, and nothing left behind by a killed run.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np

from ppcls.data.dataset import ImageDataset
from ppcls.data.sampler import BatchSampler, Draw
from ppcls.errors import DataError

__all__ = ["Batch", "Loader"]


class Batch(NamedTuple):
    """Images uint8 (N, H, W, 3), labels int64 (N,), and their indices in the data set (N,)."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


class Loader:
    """Iterate over the batches of an epoch, in the sampler's order.

    Args:
        dataset: where samples come from.
        sampler: which of them make a batch.
        num_workers: threads that prepare batches; 0 prepares each when it is asked for.
    """

    def __init__(self, dataset: ImageDataset, sampler: BatchSampler, num_workers: int = 2):
        self.dataset = dataset
        self.sampler = sampler
        self.num_workers = num_workers
        self._pool = ThreadPoolExecutor(num_workers, "ppcls-loader") if num_workers else None

    def __len__(self) -> int:
        return len(self.sampler)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def epoch(self, epoch: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch but for the first `skip`.

        Raises:
            ImageError: a sample cannot be decoded.
            DataError: the images of a batch have different sizes.
        """
        draws = itertools.islice(self.sampler.draws(epoch), skip, None)
        if self._pool is None:
            for draw in draws:
                yield self._prepare(draw, epoch)
            return
        ahead: deque[Future[Batch]] = deque()
        try:
            for draw in draws:
                ahead.append(self._pool.submit(self._prepare, draw, epoch))
                if len(ahead) > 2 * self.num_workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def _prepare(self, draw: Draw, epoch: int) -> Batch:
        samples, indices = self.dataset.samples, draw.indices
        images = [
            self.dataset.load(int(i), epoch, int(copy)) for i, copy in zip(*draw, strict=True)
        ]
        for image, index in zip(images, indices, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{samples[index].path}: its size after the transforms is "
                    f"{image.shape[1]}x{image.shape[0]}, while {samples[indices[0]].path} has "
                    f"{images[0].shape[1]}x{images[0].shape[0]}; end the image operations with a "
                    "fixed size (CropImage, or ResizeImage with size)"
                )
        labels = np.array([samples[i].label for i in indices], np.int64)
        return Batch(np.stack(images), labels, indices)
