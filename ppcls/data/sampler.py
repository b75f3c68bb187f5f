"""Which samples make up which batch."""

from __future__ import annotations

import numpy as np

__all__ = ["BatchSampler"]


class BatchSampler:
    """Every sample once an epoch, in list order or shuffled by (seed, epoch).

    Args:
        length: number of samples.
        batch_size: samples a batch.
        shuffle: another order each epoch.
        drop_last: leave out a last batch that is not full.
        seed: of the shuffling.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ):
        self.length = length
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed

    def __len__(self) -> int:
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the sample indices (int64) of each batch of an epoch."""
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        return [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
