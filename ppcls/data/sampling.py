"""From the section `sampler` of a configuration to the sampler it describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppcls.data import sampler_options as config
from ppcls.data.samplers import (
    BatchSampler,
    DistributedBatchSampler,
    DistributedEvalSampler,
    PKSampler,
    RASampler,
    WeightedRandomSampler,
    balanced_weights,
)
from ppcls.errors import ConfigError

__all__ = ["build_sampler"]


def build_sampler(
    options: config.SamplerOptions | config.EvalSampler,
    labels: Sequence[int],
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> BatchSampler:
    """Return the sampler of a `sampler` section for one of `world_size` processes.

    Raises:
        ConfigError: the section and the labels (one class for each sample) do not go together.
    """
    size: int = options.batch_size
    where: dict[str, Any] = {"rank": rank, "world_size": world_size}
    if isinstance(options, config.EvalSampler):
        return DistributedEvalSampler(len(labels), size, **where)
    how = {"drop_last": options.drop_last, "seed": seed, **where}
    if isinstance(options, config.DistributedBatchSampler):
        return DistributedBatchSampler(len(labels), size, shuffle=options.shuffle, **how)
    if isinstance(options, config.RASampler):
        return RASampler(
            len(labels),
            size,
            num_repeats=options.num_repeats,
            selected_round=options.selected_round,
            shuffle=options.shuffle,
            **how,
        )
    if not all(isinstance(label, int) for label in labels):
        raise ConfigError(f"sampler.name: {options.name} needs samples of one class each")
    if isinstance(options, config.PKSampler):
        return PKSampler(
            labels,
            size,
            sample_per_id=options.sample_per_id,
            sample_method=options.sample_method,
            id_list=options.id_list,
            ratio=options.ratio,
            **how,
        )
    weights = options.class_weights
    if isinstance(weights, list):
        if len(weights) <= max(labels) or not any(weights[label] for label in labels):
            raise ConfigError(
                f"sampler.class_weights has {len(weights)} entries: it needs one for each of the "
                f"{max(labels) + 1} classes, and one of a class that has samples above 0"
            )
        of_samples = np.array([weights[label] for label in labels])
    else:
        of_samples = balanced_weights(labels, {"balanced": 1.0, "sqrt": 0.5}[weights])
    return WeightedRandomSampler(of_samples, size, num_samples=options.num_samples, **how)
