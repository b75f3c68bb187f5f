"""A user's own loss and metrics: registered, named in a YAML file, trained and evaluated with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from ppcls.config import load_config
from ppcls.errors import ConfigError
from ppcls.evaluation.evaluate import evaluate
from ppcls.losses.base import LOSSES, Loss, register_loss
from ppcls.metrics.answers import Answers
from ppcls.metrics.base import METRICS, Metric, register_metric
from ppcls.training.train import train

if TYPE_CHECKING:
    from paddle import Tensor


class MarginLoss(Loss):
    """How far the logit of the class is from being `margin` above the mean logit."""

    per_class: ClassVar[tuple[str, ...]] = ("margin",)

    margin: float | list[float] = 1.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        own = logits.take_along_axis(labels.unsqueeze(1), 1).squeeze(1)
        return (self.margin - own + logits.mean(1)).clip(min=0).mean()


class ClassRecall(Metric):
    """The share of the images of class `label` that are found."""

    label: int = 0

    def value(self, answers: Answers) -> float:
        of_class = answers.label == self.label
        return float((answers.predicted[of_class] == self.label).mean())


class ErrorRate(Metric):
    """The share of wrong answers, which is counted while training, too."""

    higher_is_better: ClassVar[bool] = False
    by_batch: ClassVar[bool] = True

    def value(self, answers: Answers) -> float:
        return float(answers.wrong.mean())

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(1) != labels).astype("float64")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """They are known in these tests alone."""
    register_loss(MarginLoss)
    register_metric(ClassRecall)
    register_metric(ErrorRate)
    yield
    LOSSES.remove("MarginLoss")
    METRICS.remove("ClassRecall")
    METRICS.remove("ErrorRate")


@pytest.mark.training
def test_they_train_and_evaluate(config_file: Path, overrides: list[str]) -> None:
    text = """
Loss:
  Train: [{CELoss: {weight: 0.5}}, {MarginLoss: {margin: 2.0}}]
  Eval: [{MarginLoss: }]
Metric:
  Train: [{ErrorRate: }]
  Eval: [{ClassRecall: {label: 2}}, {ErrorRate: }]
"""
    config_file.write_text(config_file.read_text() + text)
    result = train(load_config(config_file, [*overrides, "Global.epochs=1"]))
    assert result.metric == "top1"
    records = map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines())
    assert all(0 <= r["ErrorRate"] <= 1 for r in records if r["kind"] in ("train", "eval"))
    # The run's own configuration names them, too.
    weights = f"Global.pretrained_model={result.best}"
    found = evaluate(load_config(result.folder / "config.yaml", [weights]))
    assert list(found.means) == ["loss", "top1", "ClassRecall", "ErrorRate"]
    assert found.means["ErrorRate"] == pytest.approx(1 - found.means["top1"])
    of_class = found.answers.label == 2
    assert found.means["ClassRecall"] == (found.answers.predicted[of_class] == 2).mean()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "Loss.Train=[{MarginLoss: {margn: 1.0}}]",
            "Loss.Train.0.MarginLoss.margn: unknown key; did you mean 'margin'?",
        ),
        ("Loss.Train=[{MarginLos: }]", "MarginLoss"),
        (
            "Loss.Train=[{MarginLoss: {margin: [1.0, 2.0]}}]",
            "Loss.Train.0.MarginLoss.margin: has 2 entries; Arch.class_num is 3",
        ),
        (
            "Metric.Train=[{ClassRecall: }]",
            "ClassRecall needs the scores of all images; use it in Metric.Eval",
        ),
    ],
)
def test_their_mistakes_are_named_as_any_others(
    config_file: Path, overrides: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config_file, [*overrides, override])
    assert message in str(error.value)


def test_a_class_of_another_kind_is_no_loss() -> None:
    with pytest.raises(ConfigError, match=r"is not a class derived from ppcls\.losses\.base\.Loss"):
        register_loss(ErrorRate)
