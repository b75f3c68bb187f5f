"""The sections `sampler` of `DataLoader`, typed. The samplers are in ppcls/data/samplers.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from ppcls.option_types import Count, NotNegative
from ppcls.options import Options, named

__all__ = ["EvalSampler", "SamplerOptions"]


class SamplerBase(Options):
    """How samples become batches. `batch_size` is per device.

    A last batch that is not full is left out (`drop_last`), or shared by all processes; where they
    do not divide it, the first samples of the epoch fill it up.
    """

    batch_size: Count
    drop_last: bool = False


class DistributedBatchSampler(SamplerBase):
    """Every sample once an epoch, in list order or, with `shuffle`, in another each time."""

    name: Literal["DistributedBatchSampler"] = "DistributedBatchSampler"
    shuffle: bool = False


class RASampler(SamplerBase):
    """Repeated augmentation: `num_repeats` differently augmented copies of a sample in a batch.

    An epoch is no longer for it. Its samples are rounded down to a multiple of `selected_round`.
    """

    name: Literal["RASampler", "RepeatedAugSampler"]
    shuffle: bool = False
    num_repeats: Count = 3
    selected_round: Annotated[int, Field(ge=0)] = 256


class WeightedRandomSampler(SamplerBase):
    """Samples drawn with replacement, `num_samples` of them an epoch (as many as there are).

    `class_weights`: `balanced` draws all classes equally often, `sqrt` in proportion to the square
    roots of their sizes; a list has the weight of a sample of each class.
    """

    name: Literal["WeightedRandomSampler"]
    class_weights: Literal["balanced", "sqrt"] | list[NotNegative] = "balanced"
    num_samples: Count | None = None


class PKSampler(SamplerBase):
    """`sample_per_id` samples of each of `batch_size / sample_per_id` classes that are drawn.

    Classes are drawn in proportion to their sizes (`sample_avg_prob`) or evenly (`id_avg_prob`);
    `id_list`, pairs of a first and a last label one after the other, and `ratio`, one factor a
    pair, make some more probable. All is drawn anew each epoch.
    """

    name: Literal["PKSampler"]
    sample_per_id: Count
    sample_method: Literal["sample_avg_prob", "id_avg_prob"] = "sample_avg_prob"
    id_list: list[Annotated[int, Field(ge=0)]] = []
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


SamplerOptions = Annotated[
    Annotated[DistributedBatchSampler, Tag("DistributedBatchSampler")]
    | Annotated[PKSampler, Tag("PKSampler")]
    | Annotated[RASampler, Tag("RASampler")]
    | Annotated[WeightedRandomSampler, Tag("WeightedRandomSampler")],
    named("DistributedBatchSampler", RepeatedAugSampler="RASampler"),
]
"""The annotation of `DataLoader.Train.sampler`."""


class EvalSampler(Options):
    """Every sample exactly once, in list order, over any number of processes.

    What `DistributedBatchSampler` means for evaluation: it pads no shard and drops nothing.
    """

    name: Literal["DistributedBatchSampler", "DistributedEvalSampler"] = "DistributedEvalSampler"
    batch_size: Count
