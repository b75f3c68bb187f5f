"""The multi-label loss."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ppcls.data.lists import Sample
from ppcls.losses.base import LOSSES, Loss, LossFunction
from ppcls.options import Share

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["MultiLabelLoss"]


@LOSSES.register
class MultiLabelLoss(Loss):
    """Binary cross-entropy of each class, for images with any number of labels.

    It is the mean over images and classes; `size_sum` sums over classes instead. `epsilon` smooths
    the targets. `weight_ratio` weights each class by its share r of the training images: positives
    by exp(1 - r), negatives by exp(r).
    """

    labels: ClassVar[Literal["several"]] = "several"

    epsilon: Share = 0.0
    size_sum: bool = False
    weight_ratio: bool = False

    def check_eval(self) -> None:
        """Raise a ValueError if `weight_ratio` needs the training images."""
        if self.weight_ratio:
            raise ValueError("weight_ratio needs the training images, so it is for Loss.Train only")

    def fitted(self, samples: Sequence[Sample]) -> LossFunction:
        """Return the loss, with each label's share of the samples for `weight_ratio`."""
        import paddle

        if not self.weight_ratio:
            return self
        ratio = np.mean([sample.label for sample in samples], axis=0, dtype=np.float64)
        return partial(self, ratio=paddle.to_tensor(ratio.astype(np.float32)))

    def __call__(self, logits: Tensor, labels: Tensor, ratio: Tensor | None = None) -> Tensor:
        """Return the mean loss, a scalar, of float32 (N, C) and the 0 and 1 of float32 (N, C).

        `ratio` is each label's share of the training images, float32 (C,).
        """
        import paddle
        import paddle.nn.functional as F

        targets = F.label_smooth(labels, epsilon=self.epsilon) if self.epsilon else labels
        weights = None
        if ratio is not None:
            weights = paddle.exp(paddle.where(labels > 0.5, 1 - ratio, ratio))
        mean = F.binary_cross_entropy_with_logits(logits, targets, weights)
        return mean * logits.shape[1] if self.size_sum else mean
