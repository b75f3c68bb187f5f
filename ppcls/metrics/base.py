"""What metrics have in common: their base class and their registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ppcls.options import OneKey
from ppcls.registry import Registry

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["METRICS", "Metric", "MetricTerm", "parts_of", "register_metric"]


class Metric(OneKey):
    """A number that says how good a model's answers are.

    Attributes:
        labels: of which images: those with one class each, or with several labels each.
        higher_is_better: whether more of it is better, so that it can choose the best weights.
        by_batch: whether it is a mean over images, which `per_image` counts while training.
    """

    labels: ClassVar[Literal["one", "several"]] = "one"
    higher_is_better: ClassVar[bool] = True
    by_batch: ClassVar[bool] = False

    @property
    def key(self) -> str:
        """What logs and records call it."""
        return type(self).__name__

    def value(self, answers: Any) -> float:
        """Return it for all answers of an evaluation: `Answers`, or `LabelSets` of several labels.

        Images that could not be read are among them, and count as wrong.
        """
        raise NotImplementedError

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return what each image adds to the mean, float64 (N,).

        Args:
            logits: float32 (N, C).
            labels: int64 (N,), or 0 and 1 for each class, float32 (N, C).
        """
        raise NotImplementedError

    def parts(self, class_num: int) -> Sequence[Metric]:
        """Return the single numbers that it stands for, among so many classes: itself."""
        return [self]

    @property
    def models(self) -> list[str]:
        """The models of a distillation that it names, if any."""
        return []


METRICS = Registry("metric", Metric)
register_metric = METRICS.register
MetricTerm = Annotated[Any, METRICS]
"""The annotation of one entry of `Metric.Train` and `Metric.Eval`."""


def parts_of(metrics: Sequence[Metric], class_num: int) -> list[Metric]:
    """Return the single numbers that metrics stand for, each key once."""
    parts = {part.key: part for metric in metrics for part in metric.parts(class_num)}
    return list(parts.values())
