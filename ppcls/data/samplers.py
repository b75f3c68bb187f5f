"""Which samples make up which batch, on one process or on each of several.

A sampler lays out the epoch once, for all processes together: its joint batches hold
`batch_size * world_size` samples, and each process takes its share of every one of them. So the
samples of a step are those of one process with the joint batch size, and all processes take the
same number of steps. Everything follows from (seed, epoch).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ppcls.errors import ConfigError

__all__ = [
    "BatchSampler",
    "DistributedBatchSampler",
    "DistributedEvalSampler",
    "Draw",
    "PKSampler",
    "RASampler",
    "WeightedRandomSampler",
    "balanced_weights",
]


class Draw(NamedTuple):
    """The samples of a batch.

    Attributes:
        indices: of the samples, int64 (N,).
        copies: how often each was drawn before in the same epoch, int64 (N,): copies of a sample
            are augmented differently.
    """

    indices: np.ndarray
    copies: np.ndarray


def _count_copies(order: np.ndarray) -> np.ndarray:
    """Return for each entry how many of those before it are equal to it."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    first = np.searchsorted(ordered, ordered)
    copies = np.empty_like(order)
    copies[by_value] = np.arange(len(order)) - first
    return copies


class BatchSampler(ABC):
    """The joint batches of an epoch, and the share of one process in them.

    A last joint batch that is not full is left out (`drop_last`), or shared evenly: where the
    processes do not divide it, the epoch's first samples fill it up.

    Args:
        total: how many samples are drawn in an epoch, by all processes together.
        batch_size: samples a batch, on each process.
        drop_last: leave out a last joint batch that is not full.
        seed: of what is random.
        rank: of this process, from 0.
        world_size: how many processes there are.
    """

    def __init__(
        self,
        total: int,
        batch_size: int,
        *,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        self.total = total
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    @abstractmethod
    def _order(self, epoch: int) -> np.ndarray:
        """Return the indices (int64, (total,)) of an epoch, those of all processes together."""

    def __len__(self) -> int:
        full, rest = divmod(self.total, self.batch_size * self.world_size)
        return full + (rest > 0 and not self.drop_last)

    def draws(self, epoch: int) -> Iterator[Draw]:
        """Yield the batches of an epoch for this process."""
        order = self._order(epoch)
        copies = _count_copies(order)
        for start, stop in self._bounds():
            at = self._share(np.arange(start, stop))
            yield Draw(order[at], copies[at])

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the sample indices, int64 (N,), of each batch of an epoch for this process."""
        return [draw.indices for draw in self.draws(epoch)]

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """Yield where in the order each joint batch begins and ends."""
        joint = self.batch_size * self.world_size
        for step in range(len(self)):
            yield step * joint, min(self.total, (step + 1) * joint)

    def _share(self, joint: np.ndarray) -> np.ndarray:
        """Return the part of this process in the places of a joint batch."""
        joint = self._filled(joint)
        size = len(joint) // self.world_size
        return joint[self.rank * size : (self.rank + 1) * size]

    def _filled(self, joint: np.ndarray) -> np.ndarray:
        missing = -len(joint) % self.world_size
        return np.append(joint, np.arange(missing) % self.total)


class DistributedBatchSampler(BatchSampler):
    """Every sample once an epoch, in list order or shuffled by (seed, epoch).

    Args:
        length: number of samples.
        batch_size, drop_last, seed, rank, world_size: as of `BatchSampler`.
        shuffle: another order each epoch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        super().__init__(
            length,
            batch_size,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.shuffle = shuffle

    def _order(self, epoch: int) -> np.ndarray:
        if self.shuffle:
            return np.random.default_rng((self.seed, epoch)).permutation(self.total)
        return np.arange(self.total)


class DistributedEvalSampler(BatchSampler):
    """Every sample exactly once over all processes, in list order: for evaluation.

    Nothing is repeated and nothing left out, so that the processes may take different numbers of
    steps, and where there are fewer samples than processes some take none: sums over what each has
    seen are exact, and only those may be exchanged after the last step.

    Args:
        length: number of samples.
        batch_size, rank, world_size: as of `BatchSampler`.
    """

    def __init__(self, length: int, batch_size: int, *, rank: int = 0, world_size: int = 1):
        super().__init__(length, batch_size, rank=rank, world_size=world_size)

    def _order(self, epoch: int) -> np.ndarray:
        return np.arange(self.total)

    def __len__(self) -> int:
        return len(list(self._bounds()))

    def _bounds(self) -> Iterator[tuple[int, int]]:
        first, end = (self.total * r // self.world_size for r in (self.rank, self.rank + 1))
        for start in range(first, end, self.batch_size):
            yield start, min(end, start + self.batch_size)

    def _share(self, joint: np.ndarray) -> np.ndarray:
        return joint


class RASampler(BatchSampler):
    """Repeated augmentation: `num_repeats` differently augmented copies of a sample in a batch.

    Of the order with its repetitions an epoch takes the first as many as there are samples, rounded
    down to a multiple of `selected_round` (0 does not round): it costs as much as another, and sees
    1 in `num_repeats` samples. Copies of a sample go to different processes.
    https://arxiv.org/abs/1901.09335, as in DeiT (https://arxiv.org/abs/2012.12877).

    Args:
        length: number of samples.
        batch_size, drop_last, seed, rank, world_size: as of `BatchSampler`.
        num_repeats: copies of each sample.
        selected_round: what the number of samples of an epoch is a multiple of.
        shuffle: another order each epoch.

    Raises:
        ConfigError: there are fewer samples than `selected_round`.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        num_repeats: int = 3,
        selected_round: int = 256,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if length < selected_round:
            raise ConfigError(
                f"sampler.selected_round is {selected_round}, and there are only {length} samples, "
                "which leaves none: set selected_round: 0"
            )
        super().__init__(
            length - length % selected_round if selected_round else length,
            batch_size,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.length = length
        self.num_repeats = num_repeats
        self.shuffle = shuffle

    def _order(self, epoch: int) -> np.ndarray:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
        return np.repeat(order, self.num_repeats)[: self.total]

    def _share(self, joint: np.ndarray) -> np.ndarray:
        return self._filled(joint)[self.rank :: self.world_size]


def balanced_weights(labels: Sequence[int], power: float = 1.0) -> np.ndarray:
    """Return weights of samples, float64 (N,): 1 / (size of the sample's class) ** power.

    With power 1 all classes are drawn equally often, with 0 all samples, with 0.5 classes by the
    square root of their sizes (https://arxiv.org/abs/1910.09217).
    """
    _, inverse, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return (1.0 / counts**power)[inverse]


class WeightedRandomSampler(BatchSampler):
    """Samples drawn with replacement, in proportion to their weights.

    Args:
        weights: of the samples, not negative, at least one of them positive.
        batch_size, drop_last, seed, rank, world_size: as of `BatchSampler`.
        num_samples: how many are drawn in an epoch, by all processes together; as many as there
            are where it is None.
    """

    def __init__(
        self,
        weights: Sequence[float] | np.ndarray,
        batch_size: int,
        *,
        num_samples: int | None = None,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        super().__init__(
            num_samples or len(weights),
            batch_size,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        weights = np.asarray(weights, np.float64)
        self.probabilities = weights / weights.sum()

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        return rng.choice(len(self.probabilities), self.total, p=self.probabilities)


class PKSampler(BatchSampler):
    """P classes a batch and K samples of each: P is `batch_size / sample_per_id`.

    The classes of a joint batch are different ones, drawn in proportion to their sizes
    (`sample_avg_prob`) or evenly (`id_avg_prob`); the samples of a class too, unless it has fewer
    than K. An epoch has as many batches as if it took each sample once.
    https://arxiv.org/abs/1703.07737

    Args:
        labels: of the samples.
        batch_size, drop_last, seed, rank, world_size: as of `BatchSampler`.
        sample_per_id: K.
        sample_method: how classes are drawn.
        id_list: pairs of a first and a last label, one pair after the other.
        ratio: for each pair, what the probability of its labels is multiplied by; of pairs that
            overlap the first counts.

    Raises:
        ConfigError: `sample_per_id` does not divide `batch_size`, or a joint batch needs more
            classes than can be drawn.
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        *,
        sample_per_id: int,
        sample_method: str = "sample_avg_prob",
        id_list: Sequence[int] = (),
        ratio: Sequence[float] = (),
        drop_last: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size % sample_per_id:
            raise ConfigError(
                f"sampler.batch_size ({batch_size}) must be a multiple of sample_per_id "
                f"({sample_per_id})"
            )
        joint = batch_size * world_size
        full, rest = divmod(len(labels), joint)
        steps = full + (rest > 0 and not drop_last)
        super().__init__(
            steps * joint,
            batch_size,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.sample_per_id = sample_per_id
        classes, inverse, counts = np.unique(
            np.asarray(labels), return_inverse=True, return_counts=True
        )
        self.members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
        chances = np.ones(len(classes)) if sample_method == "id_avg_prob" else counts.astype(float)
        left = np.ones(len(classes), bool)
        for first, last, factor in zip(id_list[::2], id_list[1::2], ratio, strict=True):
            named = left & (classes >= first) & (classes <= last)
            chances[named] *= factor
            left &= ~named
        needed = joint // sample_per_id
        if np.count_nonzero(chances) < needed:
            raise ConfigError(
                f"PKSampler needs {needed} different classes for each batch of {joint}, and the "
                f"data set has {np.count_nonzero(chances)} to draw from; lower sampler.batch_size "
                "or raise sample_per_id"
            )
        self.probabilities = chances / chances.sum()

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        per_batch = self.batch_size * self.world_size // self.sample_per_id
        order = []
        for _ in range(len(self)):
            for chosen in rng.choice(
                len(self.members), per_batch, replace=False, p=self.probabilities
            ):
                members = self.members[chosen]
                few = len(members) < self.sample_per_id
                order.append(rng.choice(members, self.sample_per_id, replace=few))
        return np.concatenate(order) if order else np.empty(0, np.int64)
