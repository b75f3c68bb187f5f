"""Samplers: they choose the samples of each batch, for one process or several.

A sampler orders the epoch once for all processes: a joint batch holds `batch_size * world_size`
samples, and each process takes its share. So a step has the same samples as in one process with
the joint batch size, and all processes take the same number of steps. The order depends on (seed,
epoch) alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import model_validator

from ppcls.data.lists import Label
from ppcls.errors import ConfigError
from ppcls.options import Count, Natural, NotNegative, Options
from ppcls.registry import Registry

__all__ = [
    "SAMPLERS",
    "DistributedBatchSampler",
    "DistributedEvalSampler",
    "Draw",
    "PKSampler",
    "RASampler",
    "Sampler",
    "SamplerOption",
    "WeightedRandomSampler",
    "register_sampler",
]


class Draw(NamedTuple):
    """The samples of a batch.

    Attributes:
        indices: indices of the samples, int64 (N,).
        copies: how often the epoch has already drawn each sample, int64 (N,). Copies of a sample
            are augmented differently.
    """

    indices: np.ndarray
    copies: np.ndarray


def _count_copies(order: np.ndarray) -> np.ndarray:
    """Return for each entry the number of equal entries before it."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    first = np.searchsorted(ordered, ordered)
    copies = np.empty_like(order)
    copies[by_value] = np.arange(len(order)) - first
    return copies


class Sampler(Options):
    """Groups samples into batches. `batch_size` is per device.

    `drop_last` leaves out an incomplete last batch. Without it, all processes share that batch, and
    the first samples of the epoch fill it up to a multiple of the number of processes.
    """

    in_turn: ClassVar[bool] = False
    """Whether processes take the samples of a joint batch in turn, instead of in blocks."""

    name: str
    batch_size: Count
    drop_last: bool = False

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the samples of an epoch in order, for all processes together.

        Args:
            labels: labels of all samples of the data set.
            rng: source of all random numbers, a new one in each epoch.
            world_size: number of processes.

        Returns:
            Their indices, int64 (N,); N is the same in each epoch.

        Raises:
            ConfigError: the options do not fit the labels.
        """
        raise NotImplementedError

    def places(self, total: int, rank: int, world_size: int) -> Iterator[np.ndarray]:
        """Yield for each batch of a process the positions of its samples in the order, int64 (N,).

        Args:
            total: length of the order.
            rank: rank of the process, from 0.
            world_size: number of processes.
        """
        joint = self.batch_size * world_size
        for start in range(0, total - total % joint if self.drop_last else total, joint):
            places: np.ndarray = np.arange(start, min(total, start + joint))
            missing = -len(places) % world_size
            if missing:
                places = np.append(places, np.arange(missing) % total)
            size = len(places) // world_size
            part = slice(rank * size, (rank + 1) * size)
            yield places[slice(rank, None, world_size) if self.in_turn else part]

    def draws(
        self,
        epoch: int,
        labels: Sequence[Label],
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[Draw]:
        """Yield the batches of an epoch for one of `world_size` processes.

        Raises:
            ConfigError: the options do not fit the labels.
        """
        order = self.order(labels, np.random.default_rng((seed, epoch)), world_size)
        copies = _count_copies(order)
        for places in self.places(len(order), rank, world_size):
            yield Draw(order[places], copies[places])


SAMPLERS = Registry("sampler", Sampler, default="DistributedBatchSampler", required=("order",))
register_sampler = SAMPLERS.register
SamplerOption = Annotated[Any, SAMPLERS]
"""The annotation of `DataLoader.Train.sampler`."""


def _all_of(labels: Sequence[Label], rng: np.random.Generator, shuffle: bool) -> np.ndarray:
    return rng.permutation(len(labels)) if shuffle else np.arange(len(labels))


@SAMPLERS.register(aliases=("BatchSampler",))
class DistributedBatchSampler(Sampler):
    """Every sample once an epoch, in list order or, with `shuffle`, in a new random order."""

    name: Literal["DistributedBatchSampler", "BatchSampler"] = "DistributedBatchSampler"
    shuffle: bool = False

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the indices of an epoch, int64 (N,)."""
        return _all_of(labels, rng, self.shuffle)


@SAMPLERS.register(aliases=("RepeatedAugSampler",))
class RASampler(Sampler):
    """Repeated augmentation: `num_repeats` differently augmented copies of a sample in a batch.

    Repeating does not make an epoch longer: the order with its repetitions is cut to the number of
    samples, rounded down to a multiple of `selected_round` (0 does not round). Copies of a sample
    go to different processes.
    https://arxiv.org/abs/1901.09335, as in DeiT (https://arxiv.org/abs/2012.12877).
    """

    in_turn: ClassVar[bool] = True

    name: Literal["RASampler", "RepeatedAugSampler"]
    shuffle: bool = False
    num_repeats: Count = 3
    selected_round: Natural = 256

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the indices of an epoch, int64 (N,).

        Raises:
            ConfigError: there are fewer samples than `selected_round`.
        """
        length = len(labels)
        if length < self.selected_round:
            raise ConfigError(
                f"sampler.selected_round is {self.selected_round}, but there are only {length} "
                "samples, so no sample is left: set selected_round: 0"
            )
        total = length - length % (self.selected_round or 1)
        return np.repeat(_all_of(labels, rng, self.shuffle), self.num_repeats)[:total]


def _classes(sampler: Sampler, labels: Sequence[Any]) -> np.ndarray:
    if not all(isinstance(label, int) for label in labels):
        raise ConfigError(f"sampler.name: {sampler.name} needs samples of one class each")
    return np.asarray(labels, np.int64)


@SAMPLERS.register
class WeightedRandomSampler(Sampler):
    """Draws samples with replacement, `num_samples` an epoch (by default the data set's size).

    `class_weights`: `balanced` draws all classes equally often, `sqrt` in proportion to the square
    roots of their sizes (https://arxiv.org/abs/1910.09217); a list gives, for each class, the
    weight of one sample.
    """

    name: Literal["WeightedRandomSampler"]
    class_weights: Literal["balanced", "sqrt"] | list[NotNegative] = "balanced"
    num_samples: Count | None = None

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the indices of an epoch, int64 (N,).

        Raises:
            ConfigError: samples have several classes, or the weights do not fit the classes.
        """
        classes, given = _classes(self, labels), self.class_weights
        if isinstance(given, list):
            count = int(classes.max()) + 1
            if len(given) < count or not np.array(given)[classes].any():
                raise ConfigError(
                    f"sampler.class_weights has {len(given)} entries: it needs one for each of the "
                    f"{count} classes, and a weight above 0 for at least one class with samples"
                )
            weights = np.array(given)[classes]
        else:
            _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
            weights = (1.0 / counts ** {"balanced": 1.0, "sqrt": 0.5}[given])[inverse]
        total = self.num_samples or len(labels)
        return rng.choice(len(labels), total, p=weights / weights.sum())


@SAMPLERS.register
class PKSampler(Sampler):
    """Draws `batch_size / sample_per_id` classes a batch, and `sample_per_id` samples of each.

    Classes are drawn in proportion to their sizes (`sample_avg_prob`) or evenly (`id_avg_prob`).
    `id_list` (label ranges as a flat list: first, last, first, last, …) and `ratio` (one factor a
    range) make some classes more probable; where ranges overlap, the first one counts. Each epoch
    draws anew, with as many batches as if it took each sample once.
    https://arxiv.org/abs/1703.07737
    """

    name: Literal["PKSampler"]
    sample_per_id: Count
    sample_method: Literal["sample_avg_prob", "id_avg_prob"] = "sample_avg_prob"
    id_list: list[Natural] = []
    ratio: list[NotNegative] = []
    drop_last: bool = True

    @model_validator(mode="after")
    def _fits(self) -> PKSampler:
        if self.batch_size % self.sample_per_id:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of sample_per_id "
                f"({self.sample_per_id})"
            )
        if len(self.id_list) != 2 * len(self.ratio):
            raise ValueError(
                f"id_list needs a first and a last label for each ratio: {2 * len(self.ratio)} "
                f"entries, not {len(self.id_list)}"
            )
        return self

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the indices of an epoch, int64 (N,).

        Raises:
            ConfigError: samples have several classes, or a joint batch needs more classes than the
                data set has.
        """
        classes, inverse, counts = np.unique(
            _classes(self, labels), return_inverse=True, return_counts=True
        )
        members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
        evenly = self.sample_method == "id_avg_prob"
        chances = np.ones(len(classes)) if evenly else counts.astype(float)
        left = np.ones(len(classes), bool)
        pairs = zip(self.id_list[::2], self.id_list[1::2], self.ratio, strict=True)
        for first, last, factor in pairs:
            named = left & (classes >= first) & (classes <= last)
            chances[named] *= factor
            left &= ~named
        joint, count = self.batch_size * world_size, self.sample_per_id
        needed = joint // count
        if np.count_nonzero(chances) < needed:
            raise ConfigError(
                f"PKSampler needs {needed} different classes for each batch of {joint}, but the "
                f"data set has {np.count_nonzero(chances)} to draw from; lower sampler.batch_size "
                "or raise sample_per_id"
            )
        steps = len(labels) // joint if self.drop_last else -(-len(labels) // joint)
        order = [
            rng.choice(members[chosen], count, replace=len(members[chosen]) < count)
            for _ in range(steps)
            for chosen in rng.choice(len(members), needed, replace=False, p=chances / chances.sum())
        ]
        return np.concatenate(order) if order else np.empty(0, np.int64)


class DistributedEvalSampler(Sampler):
    """Every sample exactly once, in list order, over any number of processes.

    It repeats and leaves out nothing, so processes may take different numbers of steps, and some
    take none if there are fewer samples than processes. In evaluation, `DistributedBatchSampler`
    is this sampler.
    """

    name: Literal["DistributedBatchSampler", "BatchSampler", "DistributedEvalSampler"] = (
        "DistributedEvalSampler"
    )
    drop_last: Literal[False] = False

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        """Return the indices of all samples, int64 (N,)."""
        return np.arange(len(labels))

    def places(self, total: int, rank: int, world_size: int) -> Iterator[np.ndarray]:
        """Yield for each batch of a process its samples' positions in the order, int64 (N,)."""
        first, end = (total * r // world_size for r in (rank, rank + 1))
        for start in range(first, end, self.batch_size):
            yield np.arange(start, min(end, start + self.batch_size))
