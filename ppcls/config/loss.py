"""The section `Loss`, typed."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from ppcls.config.types import NotNegative, Share
from ppcls.options import OneKey, Options, one_of


class CELoss(OneKey):
    """Cross entropy, times `weight`; `epsilon` smooths the targets, hard or soft.

    `class_weights`, one for each class, weigh what each class adds.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    epsilon: Share = 0.0
    class_weights: list[NotNegative] | None = None


class FocalLoss(OneKey):
    """Focal loss over the softmax, times `weight` (https://arxiv.org/abs/1708.02002).

    `gamma` takes weight from what is classified well already; `alpha` is one factor for all classes
    or a list of one for each.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    gamma: NotNegative = 2.0
    alpha: Annotated[float, Field(gt=0)] | list[NotNegative] = 1.0


class MultiLabelLoss(OneKey):
    """Binary cross entropy of each class, for images with any number of labels, times `weight`.

    It is the mean over images and classes, or with `size_sum` the sum over classes. `epsilon`
    smooths the targets. `weight_ratio` weighs every class by the share r of training images that
    have it: positives by exp(1 - r), negatives by exp(r).
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    epsilon: Share = 0.0
    size_sum: bool = False
    weight_ratio: bool = False


LossTerm: Any = one_of(CELoss, FocalLoss, MultiLabelLoss)
"""The annotation of one entry of `Loss.Train` and `Loss.Eval`."""


class LossOptions(Options):
    """Sums of losses, for training and for evaluation."""

    Train: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]
    Eval: Annotated[list[LossTerm], Field(min_length=1)] = [CELoss()]

    @field_validator("Eval")
    @classmethod
    def _needs_no_training_data(cls, terms: list) -> list:
        if any(getattr(term, "weight_ratio", False) for term in terms):
            raise ValueError("weight_ratio weighs by the training images: it is for Loss.Train")
        return terms
