"""A data set: samples by index, each transformed with its own random numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ppcls.data.lists import Sample
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import DataError, ImageError, PpclsError

__all__ = ["ImageDataset"]


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
