"""The section `Metric`, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from ppcls.options import Count, Factor, OneKey, Options, one_of

__all__ = [
    "AccuracyScore",
    "DistillationTopkAcc",
    "HammingDistance",
    "LabelSetMetric",
    "MetricOptions",
    "MultiLabelMAP",
    "TopkAcc",
]


class TopkAcc(OneKey):
    """The share of images whose class is among the `topk` most probable ones, for each k."""

    topk: Annotated[list[Count], Field(min_length=1)] = [1, 5]


class DistillationTopkAcc(TopkAcc):
    """`TopkAcc` of the model of `Arch.models` that is called `model_key`."""

    model_key: str
    feature_key: Literal["logits", "output"] | None = None


class LabelSetMetric(OneKey):
    """A metric of models that give each image any number of labels."""

    @property
    def key(self) -> str:
        """What logs and records call it."""
        return type(self).__name__


class HammingDistance(LabelSetMetric):
    """The share of (image, class) decisions that are wrong, at `threshold`. Lower is better."""

    threshold: Factor = 0.5


class AccuracyScore(LabelSetMetric):
    """What is decided rightly at `threshold`.

    `base: label` is the share of (image, class) decisions, `base: sample` that of images with all
    their labels right and no other.
    """

    base: Literal["sample", "label"] = "label"
    threshold: Factor = 0.5

    @property
    def key(self) -> str:
        """What logs and records call it."""
        return "AccuracyScore_sample" if self.base == "sample" else "AccuracyScore"


class MultiLabelMAP(LabelSetMetric):
    """The mean over classes of the average precision; classes without a positive are left out.

    `integral` is the area under the precision-recall curve as a sum of steps (what scikit-learn
    computes), `11point` the interpolated mean of PASCAL VOC 2007.
    """

    map_type: Literal["integral", "11point"] = "integral"


def _none_is_empty(metrics: Any) -> Any:
    return [] if metrics is None else metrics


Metric: Any = one_of(TopkAcc, DistillationTopkAcc, AccuracyScore, HammingDistance, MultiLabelMAP)
"""The annotation of one entry of `Metric.Train` and `Metric.Eval`."""

Metrics = Annotated[
    list[Metric],
    BeforeValidator(_none_is_empty, json_schema_input_type=list[Metric] | None),
]
"""Metrics; null means none."""


class MetricOptions(Options):
    """What is counted while training and in evaluations."""

    Train: Metrics = [TopkAcc()]
    Eval: Metrics = [TopkAcc()]

    @field_validator("Train")
    @classmethod
    def _counts_batch_by_batch(cls, metrics: list) -> list:
        if any(isinstance(metric, MultiLabelMAP) for metric in metrics):
            raise ValueError("MultiLabelMAP needs the scores of all images: it is for Metric.Eval")
        return metrics
