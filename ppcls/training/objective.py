"""Training objectives: the loss of a batch in supervised training and in distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.data.loader import Batch
from ppcls.data.transforms.mix import Mixing
from ppcls.errors import ConfigError
from ppcls.losses.base import LossFunction
from ppcls.models.normalize import Normalize
from ppcls.training.distillation_model import DistillationModel

__all__ = ["Distilled", "Objective", "Supervised"]

Objective = Callable[[Batch, tuple[int, ...]], tuple[Tensor, Tensor, Tensor]]
"""Maps a batch to its loss (a scalar), logits (N, C), and labels (N,) for the metrics.

The integers are the only seed of its random draws.
"""


class Supervised:
    """Supervised training: normalise, mix, and compute the loss of the model's logits."""

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
        """Return the mixed images, the targets and the labels of a batch, on the device.

        Images are float32 (N, C, H, W). Targets are in the form that the loss expects. Labels are
        int64 (N,), or float32 (N, class_num) for multi-label data.
        """
        images = self.normalize(paddle.to_tensor(batch.images))
        labels = targets = paddle.to_tensor(batch.labels)
        if self.mixing and labels.ndim == 1:
            # Unlabelled images have label -1, and their losses use no target.
            targets = F.one_hot(labels.clip(min=0), self.class_num)
        for i, mix in enumerate(self.mixing):
            images, targets = mix(images, targets, np.random.default_rng((*entropy, i)))
        return images, targets, labels

    def __call__(self, batch: Batch, entropy: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the logits and the labels of a batch (see `prepare`)."""
        images, targets, labels = self.prepare(batch, entropy)
        logits = self.model(images)
        if list(logits.shape) != [len(labels), self.class_num]:
            raise ConfigError(
                f"the model returns {list(logits.shape)} for {len(labels)} images; expected logits "
                f"[{len(labels)}, {self.class_num}], one for each class (Arch.class_num)"
            )
        return self.loss(logits, targets), logits, labels


class Distilled(Supervised):
    """Distillation: the loss of all models' outputs."""

    model: DistillationModel

    def __call__(self, batch: Batch, entropy: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the deployed model's logits and the labels of a batch."""
        images, targets, labels = self.prepare(batch, entropy)
        outputs = self.model.outputs(images)
        return self.loss(outputs, targets), outputs[self.model.student][None], labels
