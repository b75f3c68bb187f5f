"""A user's own data set, sampler, optimizer and schedule: registered, named in YAML, used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from ppcls.config import load_config
from ppcls.data.datasets import DATASETS, Dataset, register_dataset
from ppcls.data.lists import Label, Sample
from ppcls.data.samplers import SAMPLERS, Sampler, register_sampler
from ppcls.errors import ConfigError
from ppcls.optim.optimizers import OPTIMIZERS, Optimizer, register_optimizer
from ppcls.optim.schedules import SCHEDULERS, Rate, Schedule, register_scheduler
from ppcls.training.train import train

if TYPE_CHECKING:
    import paddle
    from paddle import nn


class ByFirstLetter(Dataset):
    """All images under a folder; the class is the first letter of their folder's name."""

    name: Literal["ByFirstLetter"]
    letters: str

    def found_classes(self) -> list[str]:
        return list(self.letters)

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        paths = sorted(Path(self.image_root).rglob("*.PNG"))
        return [Sample(str(path), self.letters.index(path.parent.name[0])) for path in paths], []


class EveryOther(Sampler):
    """Every other sample."""

    name: Literal["EveryOther"]

    def order(
        self, labels: Sequence[Label], rng: np.random.Generator, world_size: int
    ) -> np.ndarray:
        return np.arange(0, len(labels), 2)


class Adagrad(Optimizer):
    """One of Paddle's, by its own name and arguments."""

    name: Literal["Adagrad"]
    epsilon: float = 1e-6


class SlowSGD(Optimizer):
    """One that builds itself."""

    name: Literal["SlowSGD"]

    def build(self, model: nn.Layer) -> paddle.optimizer.Optimizer:
        import paddle

        return paddle.optimizer.SGD(**self.common(model))


class Halving(Schedule):
    """`peak`, halved every epoch."""

    name: Literal["Halving"]
    peak: Rate

    def rate(self, t: int, total: int, per_epoch: int, watched: Sequence[float]) -> float:
        return self.peak / 2 ** (t // per_epoch)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """They are known in these tests alone; the schedule comes after the optimizers that take it."""
    register_dataset(ByFirstLetter)
    register_sampler(EveryOther)
    register_optimizer(Adagrad)
    register_optimizer(SlowSGD)
    register_scheduler(Halving)
    yield
    SCHEDULERS.remove("Halving")
    OPTIMIZERS.remove("SlowSGD")
    OPTIMIZERS.remove("Adagrad")
    SAMPLERS.remove("EveryOther")
    DATASETS.remove("ByFirstLetter")


@pytest.mark.training
@pytest.mark.parametrize("optimizer", ["Adagrad", "SlowSGD"])
def test_they_train(config_file: Path, overrides: list[str], colours: Path, optimizer: str) -> None:
    dataset = f"{{name: ByFirstLetter, letters: bgr, image_root: {colours}, transform_ops: "
    ops = "[{DecodeImage: }, {ResizeImage: {size: 32}}, {NormalizeImage: }, {ToCHWImage: }]}"
    lr = "{name: Halving, peak: 0.01, reference_batch: 8, auto_scale: true}"
    asked = [
        "Global.epochs=2",
        "Arch.class_num=3",
        f"DataLoader.Train.dataset={dataset}{ops}",
        "DataLoader.Train.sampler={name: EveryOther, batch_size: 4}",
        f"Optimizer={{name: {optimizer}, lr: {lr}}}",
    ]
    run = train(load_config(config_file, [*overrides, *asked])).folder
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["lr"] for r in records if r["kind"] == "train"][-1] == 0.0025
    assert (
        f"{len(list(colours.rglob('*.PNG')))} images, 5 batches" in (run / "train.log").read_text()
    )
    kept = load_config(run / "config.yaml")
    assert type(kept.DataLoader.Train.dataset) is ByFirstLetter
    assert type(kept.Optimizer.lr) is Halving


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Optimizer.name=SlowSDG", "did you mean 'SlowSGD'?"),
        ("Optimizer={name: SlowSGD, lr: {name: Halving, peek: 1.0}}", "did you mean 'peak'?"),
        ("Optimizer.lr={name: Halvin, peak: 1.0}", "did you mean 'Halving'?"),
        ("DataLoader.Train.sampler={name: EveryOthr, batch_size: 4}", "did you mean 'EveryOther'?"),
        ("DataLoader.Train.dataset.name=ByFirstLeter", "did you mean 'ByFirstLetter'?"),
        (
            "Optimizer.lr={name: Halving, peak: 0.1, warmup_epoch: 1, warmup_start_lr: 0.2}",
            "must be below the schedule's first rate (0.1)",
        ),
    ],
)
def test_their_mistakes_are_named_as_any_others(
    config_file: Path, overrides: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config_file, [*overrides, override])
    assert message in str(error.value)
