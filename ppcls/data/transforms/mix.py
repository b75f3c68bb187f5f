"""Mixup and cutmix: they mix the float images of a batch on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from ppcls.data.transforms.base import Probability
from ppcls.options import OneKey, Options
from ppcls.registry import Registry

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = [
    "MIXINGS",
    "CutmixOperator",
    "MixOp",
    "Mixing",
    "MixupOperator",
    "OpSampler",
    "register_batch_transform",
]

Alpha = Annotated[float, Field(gt=0)]


class Mixing(OneKey):
    """A transform of a whole batch."""

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix float32 images (N, C, H, W) and targets (N, classes) that sum to one."""
        raise NotImplementedError


MIXINGS = Registry("batch_transform", Mixing, required=("__call__",))
register_batch_transform = MIXINGS.register
MixOp = Annotated[Any, MIXINGS]
"""The annotation of one entry of `batch_transform_ops`."""


@MIXINGS.register
class MixupOperator(Mixing):
    """Blend each image and target with another one; the share is drawn from Beta(alpha, alpha).

    https://arxiv.org/abs/1710.09412
    """

    alpha: Alpha = 1.0

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix float32 images (N, C, H, W) and targets (N, classes) that sum to one."""
        share = float(rng.beta(self.alpha, self.alpha))
        order = rng.permutation(images.shape[0]).tolist()
        return (
            images * share + images[order] * (1 - share),
            targets * share + targets[order] * (1 - share),
        )


@MIXINGS.register
class CutmixOperator(Mixing):
    """Paste a random rectangle of another image, and weight the targets by area.

    https://arxiv.org/abs/1905.04899
    """

    alpha: Alpha = 0.2

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix float32 images (N, C, H, W) and targets (N, classes) that sum to one."""
        height, width = images.shape[2:]
        side = float(np.sqrt(1 - rng.beta(self.alpha, self.alpha)))
        y, x = int(rng.integers(height)), int(rng.integers(width))
        half_height, half_width = int(height * side) // 2, int(width * side) // 2
        top, bottom = max(0, y - half_height), min(height, y + half_height)
        left, right = max(0, x - half_width), min(width, x + half_width)
        order = rng.permutation(images.shape[0]).tolist()
        pasted = (bottom - top) * (right - left) / (height * width)
        mixed = images.clone()
        if pasted:  # Paddle does not assign to an empty rectangle
            mixed[:, :, top:bottom, left:right] = images[order][:, :, top:bottom, left:right]
        return mixed, targets * (1 - pasted) + targets[order] * pasted


class SampledMixup(Options):
    """`MixupOperator` for a share `prob` of the batches."""

    prob: Probability
    alpha: Alpha = 1.0


class SampledCutmix(Options):
    """`CutmixOperator` for a share `prob` of the batches."""

    prob: Probability
    alpha: Alpha = 0.2


@MIXINGS.register
class OpSampler(Mixing):
    """Draw one operator for each batch by their `prob`; the other batches stay unchanged."""

    MixupOperator: SampledMixup | None = None
    CutmixOperator: SampledCutmix | None = None

    @model_validator(mode="after")
    def _shares(self) -> OpSampler:
        probs = [op.prob for op in (self.MixupOperator, self.CutmixOperator) if op]
        if not probs:
            raise ValueError("name at least one of MixupOperator and CutmixOperator, with its prob")
        if sum(probs) > 1 + 1e-9:
            raise ValueError(f"the probs of the operators sum to {sum(probs):g}, more than 1")
        return self

    def __call__(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix float32 images (N, C, H, W) and targets (N, classes) that sum to one, or not."""
        drawn = rng.random()
        for option, operator in (
            (self.MixupOperator, MixupOperator),
            (self.CutmixOperator, CutmixOperator),
        ):
            if option and drawn < option.prob:
                return operator(alpha=option.alpha)(images, targets, rng)
            drawn -= option.prob if option else 0
        return images, targets
