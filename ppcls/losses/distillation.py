"""Distillation losses: they compare the outputs of several models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from ppcls.errors import ConfigError
from ppcls.losses.base import LOSSES, Loss
from ppcls.losses.classification import CELoss
from ppcls.options import Share

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = [
    "DistillationCELoss",
    "DistillationDMLLoss",
    "DistillationDistanceLoss",
    "DistillationGTCELoss",
    "DistillationKLDivLoss",
    "DistillationLoss",
    "Outputs",
    "PairLoss",
]

Outputs = Mapping[str, Mapping[str | None, "Tensor"]]
"""The outputs for a batch by model and layer; the layer None holds the logits (N, C)."""

Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class DistillationLoss(Loss):
    """A loss between the models of `Arch.models`.

    `key` selects the outputs: null (or `logits`, `output`) for the logits, or a layer that
    `return_patterns` of these models names.
    """

    key: str | None = None

    @property
    def layer(self) -> str | None:
        """The layer whose output it compares; None for the logits."""
        return None if self.key in ("logits", "output") else self.key


@LOSSES.register
class DistillationGTCELoss(DistillationLoss):
    """Cross-entropy of each model with the labels of the images (GT: ground truth)."""

    model_names: Annotated[list[str], Field(min_length=1)]
    epsilon: Share = 0.0

    @property
    def models(self) -> list[str]:
        """The models of `Arch.models` that it compares with the labels."""
        return self.model_names

    def deployed(self) -> Loss:
        """Return the cross-entropy of one model alone."""
        return CELoss(weight=self.weight, epsilon=self.epsilon)

    def __call__(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the sum of the mean losses, a scalar; labels are int64 (N,) or float32 (N, C)."""
        import paddle

        loss = CELoss(epsilon=self.epsilon)
        return paddle.add_n([loss(outputs[m][self.layer], labels) for m in self.model_names])


class PairLoss(DistillationLoss):
    """A loss between the two models of each pair; it ignores labels."""

    labels: ClassVar[Literal["none"]] = "none"

    model_name_pairs: Annotated[list[Pair], Field(min_length=1)]

    @property
    def models(self) -> list[str]:
        """The models of `Arch.models` that it compares."""
        return [name for pair in self.model_name_pairs for name in pair]

    def __call__(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Return the sum over the pairs, a float32 scalar; labels of any shape are ignored."""
        import paddle

        pairs = [(outputs[a][self.layer], outputs[b][self.layer]) for a, b in self.model_name_pairs]
        return paddle.add_n([self.compare(first, second) for first, second in pairs])

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of one pair of outputs, a scalar; logits are float32 (N, C)."""
        raise NotImplementedError


@LOSSES.register
class DistillationCELoss(PairLoss):
    """Cross-entropy of the first model of each pair with the probabilities of the second."""

    epsilon: Share = 0.0

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two models' logits, float32 (N, C), a scalar."""
        import paddle.nn.functional as F

        target = F.softmax(second.detach(), axis=-1)
        return F.cross_entropy(first, target, soft_label=True, label_smoothing=self.epsilon)


@LOSSES.register
class DistillationKLDivLoss(PairLoss):
    """KL divergence of the first model of each pair from the second, at a temperature.

    It is multiplied by the temperature squared (Hinton et al., https://arxiv.org/abs/1503.02531).
    """

    temperature: Annotated[float, Field(gt=0)] = 4.0

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two models' logits, float32 (N, C), a scalar."""
        import paddle.nn.functional as F

        t = self.temperature
        target = F.log_softmax(second.detach() / t, axis=-1)
        return _kl(F.log_softmax(first / t, axis=-1), target) * t**2


@LOSSES.register
class DistillationDMLLoss(PairLoss):
    """Mean of the KL divergences of each pair in both directions, as in SSLD and DML.

    SSLD (https://arxiv.org/abs/2103.05959) calls it the JS divergence and freezes the teacher; in
    deep mutual learning (https://arxiv.org/abs/1706.00384) both models learn from it. `act` turns
    logits into probabilities; set null if the outputs are probabilities already.
    """

    act: Literal["softmax", "sigmoid"] | None = "softmax"

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two outputs, float32 (N, C), a scalar; both have gradients."""
        p, q = self._log(first), self._log(second)
        return (_kl(p, q) + _kl(q, p)) / 2

    def _log(self, x: Tensor) -> Tensor:
        import paddle.nn.functional as F

        if self.act == "softmax":
            return F.log_softmax(x, axis=-1)
        return F.log_sigmoid(x) if self.act == "sigmoid" else x.clip(min=1e-12).log()


@LOSSES.register
class DistillationDistanceLoss(PairLoss):
    """Mean distance between the outputs of each pair, which must have the same shape."""

    mode: Literal["l1", "l2", "smooth_l1"] = "l2"

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance of two float32 outputs of one shape, a scalar; both have gradients.

        Raises:
            ConfigError: the shapes differ.
        """
        import paddle.nn.functional as F

        if first.shape != second.shape:
            raise ConfigError(
                f"Loss.Train: DistillationDistanceLoss of {self.key or 'logits'}: the outputs have "
                f"different shapes, {first.shape} and {second.shape}; they must be equal"
            )
        if self.mode == "l1":
            return F.l1_loss(first, second)
        return (F.mse_loss if self.mode == "l2" else F.smooth_l1_loss)(first, second)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return the mean over images of KL(q || p) from log-probabilities (N, C)."""
    return (log_q.exp() * (log_q - log_p)).sum(-1).mean()
