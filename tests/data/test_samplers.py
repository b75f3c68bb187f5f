"""Which samples make up which batch, on one process and on several."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ppcls.config import load_config
from ppcls.config.data import DataLoaders
from ppcls.data.datasets import ImageDataset
from ppcls.data.lists import Label, Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import (
    DistributedBatchSampler,
    DistributedEvalSampler,
    Draw,
    PKSampler,
    RASampler,
    Sampler,
    WeightedRandomSampler,
)
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import DecodeImage, RandCropImage
from ppcls.errors import ConfigError

LABELS = [label for label in range(12) for _ in range(label + 1)]  # 78 samples


def shuffled(**options) -> tuple[Sampler, Sequence[Label]]:
    return DistributedBatchSampler(shuffle=True, **options), [0] * 70


def repeated(**options) -> tuple[Sampler, Sequence[Label]]:
    return RASampler(name="RASampler", shuffle=True, selected_round=8, **options), [0] * 70


def weighted(**options) -> tuple[Sampler, Sequence[Label]]:
    return WeightedRandomSampler(name="WeightedRandomSampler", **options), LABELS


def classwise(**options) -> tuple[Sampler, Sequence[Label]]:
    return PKSampler(name="PKSampler", sample_per_id=2, **options), LABELS


Make = Callable[..., tuple[Sampler, Sequence[Label]]]


def draws(made: tuple[Sampler, Sequence[Label]], epoch: int, **process: int) -> list[Draw]:
    sampler, labels = made
    return list(sampler.draws(epoch, labels, seed=3, **process))


def batches(sampler: Sampler, labels: Sequence[Label], epoch: int = 0) -> list[np.ndarray]:
    return [draw.indices for draw in sampler.draws(epoch, labels)]


TRAINING = [shuffled, repeated, weighted, classwise]


def test_the_last_batch_is_dropped_or_kept() -> None:
    kept = batches(DistributedBatchSampler(batch_size=2), [0] * 5)
    assert [batch.tolist() for batch in kept] == [[0, 1], [2, 3], [4]]
    dropped = batches(DistributedBatchSampler(batch_size=4, drop_last=True), [0] * 10)
    assert [len(batch) for batch in dropped] == [4, 4]


@pytest.mark.parametrize("make", TRAINING)
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_batches_of_one(make: Make, drop_last: bool, world_size: int) -> None:
    alone = draws(make(batch_size=4 * world_size, drop_last=drop_last), 2)
    sampler = make(batch_size=4, drop_last=drop_last)
    ranks = [draws(sampler, 2, rank=rank, world_size=world_size) for rank in range(world_size)]
    for joint, parts in zip(alone, zip(*ranks, strict=True), strict=True):
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
            first = alone[0].indices[:padding]
            np.testing.assert_array_equal(together[len(expected) :, 0], first)


@pytest.mark.parametrize("make", TRAINING)
def test_epochs_differ_and_repeat(make: Make) -> None:
    def epoch(number: int) -> list[int]:
        return np.concatenate([d.indices for d in draws(make(batch_size=4), number)]).tolist()

    assert epoch(1) == epoch(1)
    assert epoch(1) != epoch(2)


# What runs of earlier versions drew: a resumed one must draw the same.
DRAWN = {
    shuffled: "198d3b07bb275748",
    repeated: "1a71c55bcb0476b9",
    weighted: "2ce955c23dba8d01",
    classwise: "4b531c9cd6e5ce1b",
}


@pytest.mark.parametrize("make", TRAINING)
def test_the_order_of_samples_is_that_of_earlier_versions(make: Make) -> None:
    drawn = draws(make(batch_size=4, drop_last=False), 7, rank=1, world_size=3)
    text = repr([(draw.indices.tolist(), draw.copies.tolist()) for draw in drawn])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DRAWN[make]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [0, 2, 20, 61])
def test_evaluation_takes_every_sample_once(length: int, world_size: int) -> None:
    made = DistributedEvalSampler(batch_size=4), [0] * length
    shards = [
        [draw.indices for draw in draws(made, 0, rank=rank, world_size=world_size)]
        for rank in range(world_size)
    ]
    assert all(0 < len(batch) <= 4 for shard in shards for batch in shard)
    assert [i for shard in shards for batch in shard for i in batch] == list(range(length))
    sizes = [sum(map(len, shard)) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_repeated_augmentation_puts_copies_of_one_sample_on_different_processes() -> None:
    ranks = [draws(repeated(batch_size=2), 1, rank=rank, world_size=3) for rank in range(3)]
    for parts in list(zip(*ranks, strict=True))[:-1]:
        for copies in zip(*(part.copies for part in parts), strict=True):
            assert copies == (0, 1, 2)
    joint = draws(repeated(batch_size=6), 1)
    alone = np.stack([np.concatenate(x) for x in zip(*joint, strict=True)])
    assert alone.shape[1] == 64
    assert (alone[0].reshape(-1)[:63].reshape(21, 3) == alone[0][:63:3, None]).all()
    assert (alone[1][:63].reshape(21, 3) == [0, 1, 2]).all()
    assert len(set(alone[0][:63:3])) == 21


def test_weights_even_the_classes_out() -> None:
    def shares(weights: str | list[float]) -> np.ndarray:
        sampler = WeightedRandomSampler(
            name="WeightedRandomSampler", batch_size=100, num_samples=60000, class_weights=weights
        )
        drawn = np.array(LABELS)[np.concatenate(batches(sampler, LABELS))]
        return np.bincount(drawn) / 60000

    sizes = np.bincount(LABELS)
    np.testing.assert_allclose(shares("balanced"), 1 / 12, atol=0.005)
    np.testing.assert_allclose(shares([1.0] * 12), sizes / 78, atol=0.006)
    np.testing.assert_allclose(shares("sqrt"), np.sqrt(sizes) / np.sqrt(sizes).sum(), atol=0.006)


def test_pk_batches_hold_k_samples_of_each_of_p_classes() -> None:
    labels = np.array(LABELS)
    sampler = PKSampler(name="PKSampler", batch_size=12, sample_per_id=3)
    drawn = batches(sampler, LABELS)
    for batch in drawn:
        classes, counts = np.unique(labels[batch], return_counts=True)
        assert (len(classes), set(counts)) == (4, {3})
        for label in classes:
            if np.count_nonzero(labels == label) >= 3:
                assert len(set(batch[labels[batch] == label])) == 3
    assert len(drawn) == 78 // 12
    whole = sampler.model_copy(update={"drop_last": False})
    assert len(batches(whole, LABELS)) == 78 // 12 + 1


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
    sampler = PKSampler(name="PKSampler", batch_size=2, sample_per_id=2, **options)
    drawn = np.bincount(np.array(labels)[np.concatenate(batches(sampler, labels))], minlength=3)
    np.testing.assert_allclose(drawn / drawn.sum(), np.array(expected) / sum(expected), atol=0.03)


def test_copies_of_a_sample_are_augmented_differently() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    dataset = ImageDataset(
        [Sample(pixels, 0)] * 3,  # type: ignore[arg-type]
        Pipeline([DecodeImage(), RandCropImage(size=8)]),
    )
    sampler = RASampler(name="RASampler", batch_size=3, selected_round=0)
    with Loader(dataset, sampler, 0) as loader:
        images = [image.tobytes() for batch in loader.epoch(1) for image in batch.images]
    assert len(set(images)) == 3


@pytest.mark.parametrize(
    ("sampler", "labels", "message"),
    [
        (
            RASampler(name="RASampler", batch_size=4),
            [0] * 100,
            "selected_round is 256, but there are only 100 samples",
        ),
        (
            PKSampler(name="PKSampler", batch_size=40, sample_per_id=2),
            LABELS,
            "needs 20 different classes for each batch of 40, but the data set has 12",
        ),
        (
            WeightedRandomSampler(
                name="WeightedRandomSampler", batch_size=4, class_weights=[1.0, 2.0]
            ),
            [0, 1, 2],
            "class_weights has 2 entries: it needs one for each of the 3 classes",
        ),
        (
            WeightedRandomSampler(name="WeightedRandomSampler", batch_size=2),
            [(0, 1), (1, 1)],
            "WeightedRandomSampler needs samples of one class each",
        ),
    ],
)
def test_samplers_that_do_not_fit_the_labels_are_named(
    sampler: Sampler, labels: Sequence[Label], message: str
) -> None:
    dataset = ImageDataset([Sample("", label) for label in labels], Pipeline([DecodeImage()]))
    with pytest.raises(ConfigError, match=message):
        Loader(dataset, sampler)


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
    config = load_config(config_file, [*overrides, f"DataLoader.Train.sampler={section}"])
    loaders: DataLoaders = config.DataLoader
    assert loaders.Train
    assert loaders.Eval
    data = loaders.Train
    images = data.dataset.images(data.dataset.read(3), config.pipeline("Train"), 0)
    with Loader(images, data.sampler, rank=1, world_size=2) as loader:
        assert isinstance(loader.sampler, kind or WeightedRandomSampler)
        labels = [label for batch in loader.epoch(0) for label in batch.labels]
        assert kind or 1 not in labels
    assert isinstance(loaders.Eval.sampler, DistributedEvalSampler)
