"""Losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.data.lists import Sample
from ppcls.losses.options import CELoss, FocalLoss, MultiLabelLoss

__all__ = ["build_loss", "label_ratio"]


def label_ratio(samples: Sequence[Sample]) -> np.ndarray | None:
    """Return the share of samples that have each label, float32 (C,); None where each has one."""
    if isinstance(samples[0].label, int):
        return None
    return np.mean([sample.label for sample in samples], axis=0, dtype=np.float64).astype("f4")


def _targets(logits: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]) if labels.ndim == 1 else labels


def _cross_entropy(term: CELoss, logits: Tensor, labels: Tensor) -> Tensor:
    if term.class_weights is None:
        soft = labels.ndim == 2
        return F.cross_entropy(logits, labels, soft_label=soft, label_smoothing=term.epsilon)
    targets = F.label_smooth(_targets(logits, labels), epsilon=term.epsilon)
    weighted = targets * paddle.to_tensor(term.class_weights)
    return -(weighted * F.log_softmax(logits, axis=1)).sum(1).mean()


def _focal(term: FocalLoss, logits: Tensor, labels: Tensor) -> Tensor:
    alpha = paddle.to_tensor(term.alpha) if isinstance(term.alpha, list) else term.alpha
    log_p = F.log_softmax(logits, axis=1)
    # A power below one has an infinite slope at zero, where a certain answer is.
    doubt = paddle.clip(-paddle.expm1(log_p), min=1e-12) ** term.gamma
    return -(_targets(logits, labels) * alpha * doubt * log_p).sum(1).mean()


def _multi_label(
    term: MultiLabelLoss, logits: Tensor, labels: Tensor, label_ratio: Tensor | None
) -> Tensor:
    targets = F.label_smooth(labels, epsilon=term.epsilon) if term.epsilon else labels
    weights = None
    if term.weight_ratio:
        assert label_ratio is not None
        weights = paddle.exp(paddle.where(labels > 0.5, 1 - label_ratio, label_ratio))
    mean = F.binary_cross_entropy_with_logits(logits, targets, weights)
    return mean * logits.shape[1] if term.size_sum else mean


def build_loss(
    terms: Sequence[CELoss | FocalLoss | MultiLabelLoss], label_ratio: np.ndarray | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the weighted sum of losses, a function of logits and labels to a scalar.

    Logits are float32 (N, C). Labels are classes, int64 (N,), or soft targets or the 0 and 1 of
    several labels, float32 (N, C). The scalar is the mean over the batch, with class weights too:
    what a sample adds does not depend on the others of its batch.

    Args:
        terms: what to add up.
        label_ratio: the share of training images that have each label, float32 (C,); needed where a
            `MultiLabelLoss` has `weight_ratio`.
    """
    ratio = None if label_ratio is None else paddle.to_tensor(label_ratio)

    def value(term: CELoss | FocalLoss | MultiLabelLoss, logits: Tensor, labels: Tensor) -> Tensor:
        if isinstance(term, FocalLoss):
            return _focal(term, logits, labels)
        if isinstance(term, MultiLabelLoss):
            return _multi_label(term, logits, labels, ratio)
        return _cross_entropy(term, logits, labels)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return paddle.add_n([value(term, logits, labels) * term.weight for term in terms])

    return loss
