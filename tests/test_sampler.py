"""Which samples make up which batch, on one process and on several."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ppcls.config import load_config
from ppcls.data.datasets import DataLoaders
from ppcls.data.image_dataset import ImageDataset
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import (
    BatchSampler,
    DistributedBatchSampler,
    DistributedEvalSampler,
    PKSampler,
    RASampler,
    WeightedRandomSampler,
    balanced_weights,
)
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import DecodeImage, RandCropImage
from ppcls.errors import ConfigError

LABELS = [label for label in range(12) for _ in range(label + 1)]  # 78 samples


def shuffled(**options) -> BatchSampler:
    return DistributedBatchSampler(70, shuffle=True, seed=3, **options)


def repeated(**options) -> BatchSampler:
    return RASampler(70, shuffle=True, selected_round=8, seed=3, **options)


def weighted(**options) -> BatchSampler:
    return WeightedRandomSampler(balanced_weights(LABELS), seed=3, **options)


def classwise(**options) -> BatchSampler:
    return PKSampler(LABELS, sample_per_id=2, seed=3, **options)


TRAINING = [shuffled, repeated, weighted, classwise]


def test_the_last_batch_is_dropped_or_kept() -> None:
    assert [b.tolist() for b in DistributedBatchSampler(5, 2).batches(0)] == [[0, 1], [2, 3], [4]]
    assert [len(b) for b in DistributedBatchSampler(10, 4, drop_last=True).batches(0)] == [4, 4]
    assert len(DistributedBatchSampler(10, 4)) == 3
    assert len(DistributedBatchSampler(10, 4, drop_last=True)) == 2


@pytest.mark.parametrize("make", TRAINING)
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_batches_of_one(
    make: Callable[..., BatchSampler], drop_last: bool, world_size: int
) -> None:
    alone = make(batch_size=4 * world_size, drop_last=drop_last)
    ranks = [
        make(batch_size=4, drop_last=drop_last, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert {len(rank) for rank in ranks} == {len(alone)}
    shares = list(zip(*(rank.draws(2) for rank in ranks), strict=True))
    for joint, parts in zip(alone.draws(2), shares, strict=True):
        assert len({len(part.indices) for part in parts}) == 1
        if make is repeated:  # its copies go to different processes in turn
            together = np.stack([np.stack(part, 1) for part in parts], 1).reshape(-1, 2)
        else:
            together = np.concatenate([np.stack(part, 1) for part in parts])
        padding = len(together) - len(joint.indices)
        assert 0 <= padding < world_size
        expected = np.stack(joint, 1)
        np.testing.assert_array_equal(together[: len(expected)], expected)
        if padding:
            first = next(alone.draws(2)).indices[:padding]
            np.testing.assert_array_equal(together[len(expected) :, 0], first)


@pytest.mark.parametrize("make", TRAINING)
def test_epochs_differ_and_repeat(make: Callable[..., BatchSampler]) -> None:
    def epoch(number: int) -> list[int]:
        return np.concatenate(make(batch_size=4).batches(number)).tolist()

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [0, 2, 20, 61])
def test_evaluation_takes_every_sample_once(length: int, world_size: int) -> None:
    shards = [
        DistributedEvalSampler(length, 4, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    batches = [shard.batches(0) for shard in shards]
    assert [len(shard) for shard in shards] == [len(b) for b in batches]
    assert all(0 < len(batch) <= 4 for shard in batches for batch in shard)
    assert [i for shard in batches for batch in shard for i in batch] == list(range(length))
    sizes = [sum(map(len, shard)) for shard in batches]
    assert max(sizes) - min(sizes) <= 1


def test_repeated_augmentation_puts_copies_of_one_sample_on_different_processes() -> None:
    ranks = [repeated(batch_size=2, rank=rank, world_size=3) for rank in range(3)]
    for parts in list(zip(*(rank.draws(1) for rank in ranks), strict=True))[:-1]:
        for copies in zip(*(part.copies for part in parts), strict=True):
            assert copies == (0, 1, 2)
    alone = np.stack(
        [np.concatenate(x) for x in zip(*repeated(batch_size=6).draws(1), strict=True)]
    )
    assert alone.shape[1] == 64
    assert (alone[0].reshape(-1)[:63].reshape(21, 3) == alone[0][:63:3, None]).all()
    assert (alone[1][:63].reshape(21, 3) == [0, 1, 2]).all()
    assert len(set(alone[0][:63:3])) == 21


def test_weights_even_the_classes_out() -> None:
    def shares(power: float) -> np.ndarray:
        sampler = WeightedRandomSampler(balanced_weights(LABELS, power), 100, num_samples=60000)
        drawn = np.array(LABELS)[np.concatenate(sampler.batches(0))]
        return np.bincount(drawn) / 60000

    sizes = np.bincount(LABELS)
    np.testing.assert_allclose(shares(1), 1 / 12, atol=0.005)
    np.testing.assert_allclose(shares(0), sizes / 78, atol=0.006)
    np.testing.assert_allclose(shares(0.5), np.sqrt(sizes) / np.sqrt(sizes).sum(), atol=0.006)


def test_pk_batches_hold_k_samples_of_each_of_p_classes() -> None:
    labels = np.array(LABELS)
    for batch in PKSampler(LABELS, 12, sample_per_id=3, seed=1).batches(0):
        classes, counts = np.unique(labels[batch], return_counts=True)
        assert (len(classes), set(counts)) == (4, {3})
        for label in classes:
            if np.count_nonzero(labels == label) >= 3:
                assert len(set(batch[labels[batch] == label])) == 3
    assert len(PKSampler(LABELS, 12, sample_per_id=3)) == 78 // 12
    assert len(PKSampler(LABELS, 12, sample_per_id=3, drop_last=False)) == 78 // 12 + 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sample_method": "sample_avg_prob"}, [1, 2, 3]),
        ({"sample_method": "id_avg_prob"}, [1, 1, 1]),
        ({"sample_method": "id_avg_prob", "id_list": [1, 2], "ratio": [3]}, [1, 3, 3]),
        ({"id_list": [0, 1, 1, 2], "ratio": [0, 2]}, [0, 0, 6]),
    ],
)
def test_pk_classes_are_drawn_as_asked(options: dict, expected: list[int]) -> None:
    labels = [0] * 1000 + [1] * 2000 + [2] * 3000
    batches = PKSampler(labels, 2, sample_per_id=2, **options).batches(0)
    drawn = np.bincount(np.array(labels)[np.concatenate(batches)], minlength=3)
    np.testing.assert_allclose(drawn / drawn.sum(), np.array(expected) / sum(expected), atol=0.03)


def test_copies_of_a_sample_are_augmented_differently() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    dataset = ImageDataset(
        [Sample(pixels, 0)] * 3,  # type: ignore[arg-type]
        Pipeline([DecodeImage(), RandCropImage(size=8)]),
    )
    sampler = RASampler(3, 3, num_repeats=3, selected_round=0)
    with Loader(dataset, sampler, 0) as loader:
        images = [image.tobytes() for batch in loader.epoch(1) for image in batch.images]
    assert len(set(images)) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RASampler(100, 4), "selected_round is 256, and there are only 100 samples"),
        (
            lambda: PKSampler(LABELS, 40, sample_per_id=2),
            "needs 20 different classes for each batch of 40, and the data set has 12",
        ),
        (lambda: PKSampler(LABELS, 5, sample_per_id=2), "must be a multiple of sample_per_id"),
    ],
)
def test_samplers_that_cannot_be_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


MISTAKES = [
    ("{name: PKSampler, batch_size: 8}", "PKSampler.sample_per_id: missing"),
    ("{name: PKSampler, batch_size: 8, sample_per_id: 3}", "must be a multiple of sample_per_id"),
    ("{name: PKSampler, batch_size: 8, sample_per_id: 2, shuffle: false}", "expected True"),
    (
        "{name: PKSampler, batch_size: 8, sample_per_id: 2, id_list: [1], ratio: [2]}",
        "a last label for each ratio: 2 entries, not 1",
    ),
    ("{name: PKSample, batch_size: 8}", "did you mean 'PKSampler'?"),
    ("{name: RASampler, batch_size: 8, num_repeat: 3}", "did you mean 'num_repeats'?"),
    ("{name: WeightedRandomSampler, batch_size: 8, shuffle: true}", "shuffle: unknown key"),
    ("{name: WeightedRandomSampler, batch_size: 8, class_weights: even}", "'balanced' or 'sqrt'"),
]


@pytest.mark.parametrize(("section", "message"), MISTAKES)
def test_mistakes_in_the_section_are_named(config_file, overrides, section, message) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(config_file, [*overrides, f"DataLoader.Train.sampler={section}"])
    text = str(raised.value).replace("sampler.sample", "PKSampler.sample")
    assert message in text


def test_an_evaluation_leaves_nothing_out(config_file, overrides) -> None:
    for wrong in ("drop_last=true", "shuffle=true", "name=PKSampler"):
        with pytest.raises(ConfigError, match=r"DataLoader\.Eval\.sampler"):
            load_config(config_file, [*overrides, f"DataLoader.Eval.sampler.{wrong}"])


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("{batch_size: 4}", DistributedBatchSampler),
        ("{name: RASampler, batch_size: 4, selected_round: 0}", RASampler),
        ("{name: RepeatedAugSampler, batch_size: 4, selected_round: 9}", RASampler),
        ("{name: WeightedRandomSampler, batch_size: 4, num_samples: 9}", WeightedRandomSampler),
        ("{name: WeightedRandomSampler, batch_size: 4, class_weights: [1, 0, 2]}", None),
        ("{name: PKSampler, batch_size: 4, sample_per_id: 4}", PKSampler),
    ],
)
def test_sections_make_their_samplers(config_file, overrides, section, kind) -> None:
    pytest.importorskip("paddle")
    from ppcls.training.setup import build_loader

    config = load_config(config_file, [*overrides, f"DataLoader.Train.sampler={section}"])
    loaders: DataLoaders = config.DataLoader
    assert loaders.Train
    assert loaders.Eval
    samples = loaders.Train.dataset.read(3)
    with build_loader(
        loaders.Train, samples, config.pipeline("Train"), 0, rank=1, world_size=2
    ) as loader:
        assert isinstance(loader.sampler, kind or WeightedRandomSampler)
        assert (loader.sampler.rank, loader.sampler.world_size) == (1, 2)
        labels = [label for batch in loader.epoch(0) for label in batch.labels]
        assert kind or 1 not in labels
    samples = loaders.Eval.dataset.read(3)
    with build_loader(
        loaders.Eval, samples, config.pipeline("Eval"), 0, rank=1, world_size=2
    ) as loader:
        assert isinstance(loader.sampler, DistributedEvalSampler)


def test_weights_that_do_not_fit_the_labels_are_named(config_file, overrides) -> None:
    pytest.importorskip("paddle")
    from ppcls.training.setup import build_loader

    section = "{name: WeightedRandomSampler, batch_size: 4, class_weights: [1, 2]}"
    config = load_config(config_file, [*overrides, f"DataLoader.Train.sampler={section}"])
    assert config.DataLoader.Train
    samples = config.DataLoader.Train.dataset.read(3)
    with pytest.raises(ConfigError, match="class_weights has 2 entries: it needs one for each of"):
        build_loader(config.DataLoader.Train, samples, config.pipeline("Train"), 0)


def test_samples_of_several_classes_have_no_class_to_draw_by() -> None:
    pytest.importorskip("paddle")
    from ppcls.data.sampler_options import WeightedRandomSampler as Options
    from ppcls.data.sampling import build_sampler

    options = Options(name="WeightedRandomSampler", batch_size=2)
    with pytest.raises(ConfigError, match="WeightedRandomSampler needs samples of one class each"):
        build_sampler(options, [(0, 1), (1, 1)], 0)
