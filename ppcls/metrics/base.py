"""The base class of metrics, and their registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ppcls.options import OneKey
from ppcls.registry import Registry

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["METRICS", "Metric", "MetricTerm", "parts_of", "register_metric"]


class Metric(OneKey):
    """A number that measures the quality of predictions.

    Attributes:
        labels: the labels that it needs: one class an image, or several labels an image.
        higher_is_better: whether higher values are better, so that it can choose the best model.
        by_batch: whether it is a mean over images, which `per_image` computes during training.
    """

    labels: ClassVar[Literal["one", "several"]] = "one"
    higher_is_better: ClassVar[bool] = True
    by_batch: ClassVar[bool] = False

    @property
    def key(self) -> str:
        """Its name in logs and records."""
        return type(self).__name__

    def value(self, answers: Any) -> float:
        """Return the metric of all predictions of an evaluation, `Answers` or `LabelSets`.

        They include unreadable images, which count as wrong.
        """
        raise NotImplementedError

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the contribution of each image to the mean, float64 (N,).

        Args:
            logits: float32 (N, C).
            labels: int64 (N,), or 0 and 1 for each class, float32 (N, C).
        """
        raise NotImplementedError

    def parts(self, class_num: int) -> Sequence[Metric]:
        """Return the single-valued metrics that it consists of; by default itself."""
        return [self]

    @property
    def models(self) -> list[str]:
        """The distillation models that it names, if any."""
        return []


METRICS = Registry("metric", Metric, required=("value", "per_image", "parts"))
register_metric = METRICS.register
MetricTerm = Annotated[Any, METRICS]
"""The annotation of one entry of `Metric.Train` and `Metric.Eval`."""


def parts_of(metrics: Sequence[Metric], class_num: int) -> list[Metric]:
    """Return the single-valued metrics that these consist of, each key once."""
    parts = {part.key: part for metric in metrics for part in metric.parts(class_num)}
    return list(parts.values())
