"""The section `Metric`, typed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ppcls.config.types import Count
from ppcls.options import OneKey, Options

__all__ = ["MetricOptions", "TopkAcc"]


class TopkAcc(OneKey):
    """The share of images whose class is among the `topk` most probable ones, for each k."""

    topk: Annotated[list[Count], Field(min_length=1)] = [1, 5]


def _none_is_empty(metrics: Any) -> Any:
    return [] if metrics is None else metrics


Metrics = Annotated[
    list[TopkAcc],
    BeforeValidator(_none_is_empty, json_schema_input_type=list[TopkAcc] | None),
]
"""Metrics; null means none."""


class MetricOptions(Options):
    """What is counted while training and in evaluations."""

    Train: Metrics = [TopkAcc()]
    Eval: Metrics = [TopkAcc()]
