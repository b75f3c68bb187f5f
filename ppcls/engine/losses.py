"""Losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.config.schema import CELoss

__all__ = ["build_loss"]


def build_loss(terms: Sequence[CELoss]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the weighted sum of losses: logits (N, C) float32 and labels (N,) int64 to a scalar.

    The scalar is the mean over the batch.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        values = [
            F.cross_entropy(logits, labels, label_smoothing=term.epsilon) * term.weight
            for term in terms
        ]
        return paddle.add_n(values)

    return loss
