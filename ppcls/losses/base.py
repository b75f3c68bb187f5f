"""The base class of losses, their registry, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ppcls.data.lists import Sample
from ppcls.options import OneKey
from ppcls.registry import Registry

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["LOSSES", "Loss", "LossFunction", "LossTerm", "register_loss", "weighted_sum"]

LossFunction = Callable[[Any, "Tensor"], "Tensor"]
"""Maps the inputs of a `Loss` to a scalar."""


class Loss(OneKey):
    """A term of the loss.

    Attributes:
        weight: factor in the sum of the terms.
        labels: the labels that it needs: one class an image, several labels an image, or any,
            because it ignores labels.
        per_class: names of options whose lists have one entry for each class.
    """

    labels: ClassVar[Literal["one", "several", "none"]] = "one"
    per_class: ClassVar[tuple[str, ...]] = ()

    weight: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, logits: Any, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, a float32 scalar, before weighting.

        The contribution of an image must not depend on the rest of its batch.

        Args:
            logits: float32 (N, C); a `DistillationLoss` takes the `Outputs` of several models.
            labels: classes, int64 (N,); soft targets, float32 (N, C); or 0 and 1 for each of
                several labels, float32 (N, C).
        """
        raise NotImplementedError

    def fitted(self, samples: Sequence[Sample]) -> LossFunction:
        """Return the loss, fitted to the training samples if it depends on them."""
        return self

    def check_eval(self) -> None:
        """Raise a ValueError if its options are for training only."""

    @property
    def models(self) -> list[str]:
        """The models of `Arch.models` that it compares; empty except in a `DistillationLoss`."""
        return []

    def deployed(self) -> Loss:
        """Return the loss of the deployed model alone, without the others of a distillation."""
        return self


LOSSES = Registry("loss", Loss, required=("__call__",))
register_loss = LOSSES.register
LossTerm = Annotated[Any, LOSSES]
"""The annotation of one entry of `Loss.Train` and `Loss.Eval`."""


def weighted_sum(terms: Sequence[Loss], samples: Sequence[Sample] = ()) -> LossFunction:
    """Return the weighted sum of losses.

    Args:
        terms: the losses.
        samples: the training samples; none in evaluation.
    """
    import paddle

    weighted = [(term.fitted(samples), term.weight) for term in terms]

    def loss(logits: Any, labels: Tensor) -> Tensor:
        return paddle.add_n([value(logits, labels) * weight for value, weight in weighted])

    return loss
