"""Losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.config.schema import CELoss, FocalLoss

__all__ = ["build_loss"]


def _per_class(value: float | list[float] | None) -> Tensor | float:
    if isinstance(value, list):
        return paddle.to_tensor(value, "float32")
    return 1.0 if value is None else value


def _build_term(term: CELoss | FocalLoss) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what one term is: log probabilities and targets (N, C) float32 to a scalar."""
    if isinstance(term, FocalLoss):
        alpha = _per_class(term.alpha)

        def focal(log_p: Tensor, targets: Tensor) -> Tensor:
            # A power below one has an infinite slope at zero, where a certain answer is.
            doubt = paddle.clip(-paddle.expm1(log_p), min=1e-12) ** term.gamma
            return -(targets * alpha * doubt * log_p).sum(1).mean() * term.weight

        return focal
    class_weights = _per_class(term.class_weights)

    def cross_entropy(log_p: Tensor, targets: Tensor) -> Tensor:
        smooth = targets * (1 - term.epsilon) + term.epsilon / targets.shape[1]
        return -(smooth * class_weights * log_p).sum(1).mean() * term.weight

    return cross_entropy


def build_loss(terms: Sequence[CELoss | FocalLoss]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the weighted sum of losses, a function of logits and labels to a scalar.

    Logits are float32 (N, C). Labels are classes, int64 (N,), or soft targets, float32 (N, C). The
    scalar is the mean over the batch, with class weights too: what a sample adds does not depend on
    the others of its batch.
    """
    functions = [_build_term(term) for term in terms]

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        targets = F.one_hot(labels, logits.shape[1]) if labels.ndim == 1 else labels
        log_p = F.log_softmax(logits, axis=1)
        return paddle.add_n([function(log_p, targets) for function in functions])

    return loss
