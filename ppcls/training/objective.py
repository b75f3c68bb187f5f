"""How a batch becomes a loss: of labelled images, and of models that learn from one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.data.loader import Batch
from ppcls.data.transforms.mix import Mixing
from ppcls.losses.base import LossFunction
from ppcls.models.normalize import Normalize
from ppcls.training.distillation_model import DistillationModel

__all__ = ["Distilled", "Objective", "Supervised"]

Objective = Callable[[Batch, tuple[int, ...]], tuple[Tensor, Tensor, Tensor]]
"""How a batch becomes a loss (a scalar), logits (N, C) and labels (N,) to count hits with.

The numbers are what its random draws must depend on alone.
"""


class Supervised:
    """The objective of labelled images: normalise, mix, compute the loss of the model's logits."""

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        loss: LossFunction,
        normalize: Normalize,
        mixing: Sequence[Mixing],
        class_num: int,
    ):
        self.model, self.loss, self.normalize = model, loss, normalize
        self.mixing, self.class_num = mixing, class_num

    def prepare(self, batch: Batch, entropy: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the images, the targets and the labels of a batch, on the device and mixed.

        They are float32 (N, C, H, W); what the loss compares logits with; and int64 (N,), or
        float32 (N, class_num) where images have several labels.
        """
        images = self.normalize(paddle.to_tensor(batch.images))
        labels = targets = paddle.to_tensor(batch.labels)
        if self.mixing and labels.ndim == 1:
            # Images without labels have -1, and losses that look at no target.
            targets = F.one_hot(labels.clip(min=0), self.class_num)
        for i, mix in enumerate(self.mixing):
            images, targets = mix(images, targets, np.random.default_rng((*entropy, i)))
        return images, targets, labels

    def __call__(self, batch: Batch, entropy: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the logits and the labels of a batch: classes, or several for each."""
        images, targets, labels = self.prepare(batch, entropy)
        logits = self.model(images)
        return self.loss(logits, targets), logits, labels


class Distilled(Supervised):
    """The objective of a distillation: the loss is of all models' outputs."""

    model: DistillationModel

    def __call__(self, batch: Batch, entropy: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the deployed model's logits and the labels of a batch."""
        images, targets, labels = self.prepare(batch, entropy)
        outputs = self.model.outputs(images)
        return self.loss(outputs, targets), outputs[self.model.student][None], labels
