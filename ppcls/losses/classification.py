"""Single-label losses, with hard or soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ppcls.data.lists import Sample
from ppcls.losses.base import LOSSES, Loss, LossFunction
from ppcls.options import NotNegative, Share

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["CELoss", "FocalLoss", "balanced_weights"]


def _soft(labels: Tensor, class_num: int) -> Tensor:
    """Return labels, int64 (N,) or float32 (N, C), as soft targets, float32 (N, C)."""
    import paddle.nn.functional as F

    return F.one_hot(labels, class_num) if labels.ndim == 1 else labels


def balanced_weights(counts: Sequence[int], class_num: int) -> list[float]:
    """Return n / (K * n_c) for each of K classes, of which class c has n_c of n samples.

    The mean weight of the samples is thus 1 if every class has samples. A class without samples
    has weight 0.
    """
    total, padded = sum(counts), [*counts, *[0] * (class_num - len(counts))]
    return [total / (class_num * count) if count else 0.0 for count in padded]


class _Weighted(Loss):
    """A loss with one factor for each class, which may be `balanced`."""

    def check_eval(self) -> None:
        """Raise a ValueError if the factors need the training images."""
        for key in self.per_class:
            if getattr(self, key) == "balanced":
                raise ValueError(
                    f"{key}: balanced needs the training images, so it is for Loss.Train only"
                )

    def fitted(self, samples: Sequence[Sample]) -> LossFunction:
        """Return the loss, with factors from the classes of the samples for `balanced`."""
        asked = [key for key in self.per_class if getattr(self, key) == "balanced"]
        if not asked:
            return self
        counts = np.bincount(np.array([sample.label for sample in samples], np.int64)).tolist()

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            weights = balanced_weights(counts, logits.shape[1])
            return self.model_copy(update=dict.fromkeys(asked, weights))(logits, labels)

        return loss


@LOSSES.register
class CELoss(_Weighted):
    """Cross-entropy with hard or soft targets; `epsilon` smooths them.

    `class_weights` has one factor for the loss of each class. `balanced` is n / (K * n_c) for a
    class with n_c of the n training images, for K classes: every class then counts alike.
    """

    per_class: ClassVar[tuple[str, ...]] = ("class_weights",)

    epsilon: Share = 0.0
    class_weights: Literal["balanced"] | list[NotNegative] | None = None

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
class FocalLoss(_Weighted):
    """Focal loss over the softmax (https://arxiv.org/abs/1708.02002).

    `gamma` reduces the weight of well-classified images; `alpha` is one factor for all classes, a
    list with one for each, or `balanced` as in `CELoss`.
    """

    per_class: ClassVar[tuple[str, ...]] = ("alpha",)

    gamma: NotNegative = 2.0
    alpha: Annotated[float, Field(gt=0)] | Literal["balanced"] | list[NotNegative] = 1.0

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, a scalar, of float32 (N, C) and int64 (N,) or float32 (N, C)."""
        import paddle
        import paddle.nn.functional as F

        alpha: Any = paddle.to_tensor(self.alpha) if isinstance(self.alpha, list) else self.alpha
        log_p = F.log_softmax(logits, axis=1)
        # A power below one has an infinite slope at zero, which a certain prediction reaches.
        doubt = paddle.clip(-paddle.expm1(log_p), min=1e-12) ** self.gamma
        return -(_soft(labels, logits.shape[1]) * alpha * doubt * log_p).sum(1).mean()
