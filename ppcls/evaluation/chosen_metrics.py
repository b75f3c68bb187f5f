"""The metrics of an evaluation, and the one that decides. It does not need Paddle."""

from __future__ import annotations

from ppcls.config import Config
from ppcls.metrics.base import Metric, parts_of
from ppcls.metrics.multi_label import MultiLabelMAP
from ppcls.metrics.single_label import TopkAcc

__all__ = ["deciding_metric", "evaluation_metrics"]


def evaluation_metrics(config: Config) -> list[Metric]:
    """Return the single-valued metrics, at least one of which can choose the best weights."""
    metrics = list(config.Metric.Eval)
    if not config.multi_label:
        metrics.insert(0, TopkAcc(topk=[1]))
    elif not any(metric.higher_is_better for metric in metrics):
        metrics.append(MultiLabelMAP())
    return parts_of(metrics, config.Arch.class_num)


def deciding_metric(config: Config) -> str:
    """Return the name of the metric that decides which weights are best.

    It is the top-1 accuracy, or for multi-label data the first metric of `Metric.Eval` that is
    better when higher.
    """
    return next(metric.key for metric in evaluation_metrics(config) if metric.higher_is_better)
