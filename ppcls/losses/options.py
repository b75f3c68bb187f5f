"""The section `Loss`, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ppcls.options import NotNegative, OneKey, Options, Share, one_of


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


class DistillationLoss(OneKey):
    """A loss between the models of `Arch.models`, times `weight`.

    `key` says of what: null (or `logits`, `output`) of the logits, or else of the output of a layer
    that `return_patterns` of these models name.
    """

    weight: Annotated[float, Field(gt=0)] = 1.0
    key: str | None = None

    @property
    def models(self) -> list[str]:
        """The names of the models that it needs."""
        raise NotImplementedError

    @property
    def layer(self) -> str | None:
        """The layer whose output it compares; None for the logits."""
        return None if self.key in ("logits", "output") else self.key


class DistillationGTCELoss(DistillationLoss):
    """Cross entropy of each of the models with the labels of the images (GT: ground truth)."""

    model_names: Annotated[list[str], Field(min_length=1)]
    epsilon: Share = 0.0

    @property
    def models(self) -> list[str]:
        """The names of the models that it needs."""
        return self.model_names


Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class _PairLoss(DistillationLoss):
    model_name_pairs: Annotated[list[Pair], Field(min_length=1)]

    @property
    def models(self) -> list[str]:
        """The names of the models that it needs."""
        return [name for pair in self.model_name_pairs for name in pair]


class DistillationCELoss(_PairLoss):
    """Cross entropy of the first model of each pair with the probabilities of the second."""

    epsilon: Share = 0.0


class DistillationKLDivLoss(_PairLoss):
    """KL divergence of the first model of each pair from the second, at a temperature.

    It is multiplied by the temperature squared (Hinton et al., https://arxiv.org/abs/1503.02531).
    """

    temperature: Annotated[float, Field(gt=0)] = 4.0


class DistillationDMLLoss(_PairLoss):
    """The mean of the KL divergences of each pair in both directions, as SSLD and DML use.

    SSLD (https://arxiv.org/abs/2103.05959) calls it the JS divergence, with a frozen teacher; in
    deep mutual learning (https://arxiv.org/abs/1706.00384) both models learn from it. `act` makes
    probabilities of the logits; null where they are some already.
    """

    act: Literal["softmax", "sigmoid"] | None = "softmax"


class DistillationDistanceLoss(_PairLoss):
    """The mean distance of the outputs of each pair, which must have one shape."""

    mode: Literal["l1", "l2", "smooth_l1"] = "l2"


LossTerm: Any = one_of(
    CELoss,
    FocalLoss,
    MultiLabelLoss,
    DistillationGTCELoss,
    DistillationCELoss,
    DistillationKLDivLoss,
    DistillationDMLLoss,
    DistillationDistanceLoss,
)
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
