"""The sections `Loss` and `Metric`: lists of registered classes, for training and evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from ppcls.losses.base import LossTerm
from ppcls.losses.classification import CELoss
from ppcls.metrics.base import MetricTerm
from ppcls.metrics.single_label import TopkAcc
from ppcls.options import Options, none_is_empty
from ppcls.registry import follows_registries

__all__ = ["LossOptions", "MetricOptions"]


@follows_registries
class LossOptions(Options):
    """Weighted sums of losses, for training and for evaluation."""

    Train: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]
    Eval: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]

    @field_validator("Eval")
    @classmethod
    def _needs_no_training_data(cls, terms: list) -> list:
        for term in terms:
            term.check_eval()
        return terms


Metrics = Annotated[
    list[MetricTerm],
    BeforeValidator(none_is_empty, json_schema_input_type=list[MetricTerm] | None),
]
"""Metrics; null means none."""


@follows_registries
class MetricOptions(Options):
    """Metrics, for training and for evaluation."""

    Train: Metrics = [TopkAcc()]
    Eval: Metrics = [TopkAcc()]

    @field_validator("Train")
    @classmethod
    def _counts_batch_by_batch(cls, metrics: list) -> list:
        for metric in metrics:
            if not metric.by_batch:
                name = type(metric).__name__
                raise ValueError(f"{name} needs the scores of all images; use it in Metric.Eval")
        return metrics
