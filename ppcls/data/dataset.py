"""A data set: samples by index, each transformed with its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppcls.data.lists import Sample
from ppcls.data.transforms import Pipeline

__all__ = ["ImageDataset"]


class ImageDataset:
    """Labelled images, transformed.

    The random numbers of a sample come from (seed, epoch, index, copy) alone, so a run is the same
    with any number of workers and after a resume.
    """

    def __init__(self, samples: Sequence[Sample], pipeline: Pipeline, seed: int = 0):
        self.samples = samples
        self.pipeline = pipeline
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int, epoch: int, copy: int = 0) -> np.ndarray:
        """Return the image of a sample, uint8 (H, W, 3), augmented as copy number `copy`.

        Raises:
            ImageError: the file cannot be decoded.
        """
        rng = np.random.default_rng((self.seed, epoch, index, copy))
        return self.pipeline(self.samples[index].path, rng)
