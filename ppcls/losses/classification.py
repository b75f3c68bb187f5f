"""Single-label losses, with hard or soft labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ppcls.losses.base import LOSSES, Loss
from ppcls.options import NotNegative, Share

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["CELoss", "FocalLoss"]


def _soft(labels: Tensor, class_num: int) -> Tensor:
    """Return labels, int64 (N,) or float32 (N, C), as soft targets, float32 (N, C)."""
    import paddle.nn.functional as F

    return F.one_hot(labels, class_num) if labels.ndim == 1 else labels


@LOSSES.register
class CELoss(Loss):
    """Cross-entropy with hard or soft targets; `epsilon` smooths them.

    `class_weights` has one factor for the loss of each class.
    """

    per_class: ClassVar[tuple[str, ...]] = ("class_weights",)

    epsilon: Share = 0.0
    class_weights: list[NotNegative] | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of float32 (N, C) and int64 (N,) or float32 (N, C)."""
        import paddle
        import paddle.nn.functional as F

        if self.class_weights is None:
            soft = labels.ndim == 2
            return F.cross_entropy(logits, labels, soft_label=soft, label_smoothing=self.epsilon)
        targets = F.label_smooth(_soft(labels, logits.shape[1]), epsilon=self.epsilon)
        weighted = targets * paddle.to_tensor(self.class_weights)
        return -(weighted * F.log_softmax(logits, axis=1)).sum(1).mean()


@LOSSES.register
class FocalLoss(Loss):
    """Focal loss over the softmax (https://arxiv.org/abs/1708.02002).

    `gamma` reduces the weight of well-classified images; `alpha` is one factor for all classes, or
    a list with one for each.
    """

    per_class: ClassVar[tuple[str, ...]] = ("alpha",)

    gamma: NotNegative = 2.0
    alpha: Annotated[float, Field(gt=0)] | list[NotNegative] = 1.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of float32 (N, C) and int64 (N,) or float32 (N, C)."""
        import paddle
        import paddle.nn.functional as F

        alpha = paddle.to_tensor(self.alpha) if isinstance(self.alpha, list) else self.alpha
        log_p = F.log_softmax(logits, axis=1)
        # A power below one has an infinite slope at zero, which a certain prediction reaches.
        doubt = paddle.clip(-paddle.expm1(log_p), min=1e-12) ** self.gamma
        return -(_soft(labels, logits.shape[1]) * alpha * doubt * log_p).sum(1).mean()
