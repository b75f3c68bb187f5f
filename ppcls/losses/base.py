"""What losses have in common: their base class, their registry, and how they are summed."""

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
"""Maps what a `Loss` takes to a scalar."""


class Loss(OneKey):
    """A term of the loss.

    Attributes:
        weight: what it is multiplied by in the sum of the terms.
        labels: of which images: those with one class each, with several labels each, or all,
            because it looks at no labels.
        per_class: names of options that, where they are lists, have one entry for each class.
    """

    labels: ClassVar[Literal["one", "several", "none"]] = "one"
    per_class: ClassVar[tuple[str, ...]] = ()

    weight: Annotated[float, Field(gt=0)] = 1.0

    def __call__(self, logits: Any, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, a float32 scalar, before it is weighted.

        What an image adds must not depend on the others of its batch.

        Args:
            logits: float32 (N, C); a `DistillationLoss` takes `Outputs`, of several models.
            labels: classes, int64 (N,); or soft targets, or the 0 and 1 of several labels, float32
                (N, C).
        """
        raise NotImplementedError

    def fitted(self, samples: Sequence[Sample]) -> LossFunction:
        """Return the loss with what it takes from the training samples: by default nothing."""
        return self

    def check_eval(self) -> None:
        """Raise a ValueError if its options are for training alone."""

    @property
    def models(self) -> list[str]:
        """The models of `Arch.models` that it compares; only a `DistillationLoss` has some."""
        return []

    def deployed(self) -> Loss:
        """Return what is left of it where the deployed model of a distillation is alone."""
        return self


LOSSES = Registry("loss", Loss)
register_loss = LOSSES.register
LossTerm = Annotated[Any, LOSSES]
"""The annotation of one entry of `Loss.Train` and `Loss.Eval`."""


def weighted_sum(terms: Sequence[Loss], samples: Sequence[Sample] = ()) -> LossFunction:
    """Return the sum of losses, each times its weight.

    Args:
        terms: what to add up.
        samples: the training samples; none where the loss is not trained with.
    """
    import paddle

    weighted = [(term.fitted(samples), term.weight) for term in terms]

    def loss(logits: Any, labels: Tensor) -> Tensor:
        return paddle.add_n([value(logits, labels) * weight for value, weight in weighted])

    return loss
