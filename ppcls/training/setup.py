"""From the section `DataLoader` to the loader that it describes."""

from __future__ import annotations

from typing import Any

from ppcls.data.datasets import DataOptions
from ppcls.data.image_dataset import ImageDataset
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedEvalSampler
from ppcls.data.sampling import build_sampler
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError

__all__ = ["build_loader"]


def build_loader(
    options: DataOptions,
    samples: list[Sample],
    pipeline: Pipeline,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """Return the loader over the samples of a `DataLoader` section.

    Args:
        options: the section.
        samples: what its data set holds.
        pipeline: its transforms (see `Config.pipeline`).
        seed: of the order and of the transforms.
        rank: of this process, which prepares its share of each joint batch.
        world_size: how many processes share the work.

    Raises:
        ConfigError: the sampler and the list do not go together, such as a list too short for one
            full batch where the rest is dropped.
    """
    dataset = options.dataset
    labels: list[Any] = [sample.label for sample in samples]  # some samplers take classes alone
    sampler = build_sampler(options.sampler, labels, seed, rank, world_size)
    if not len(sampler) and not isinstance(sampler, DistributedEvalSampler):
        joint = f"{world_size} processes of " if world_size > 1 else ""
        raise ConfigError(
            f"{dataset.source}: {sampler.total} images do not fill one batch of "
            f"{joint}{sampler.batch_size}, and sampler.drop_last drops the rest; "
            "-o DataLoader.Train.sampler.batch_size="
            f"{max(1, sampler.total // world_size // 2)} is one that fits"
        )
    return Loader(
        ImageDataset(
            samples,
            pipeline,
            seed,
            on_error=dataset.on_error,
            max_skipped=0.01 if dataset.max_skipped is None else dataset.max_skipped,
            in_memory=dataset.in_memory,
        ),
        sampler,
        options.loader.num_workers,
    )
