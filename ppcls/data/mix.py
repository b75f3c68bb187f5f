"""Mixing the images of a batch, on the device and in float: mixup and cutmix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from ppcls.options import OneKey, one_of

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = ["CutmixOperator", "MixOp", "MixupOperator"]

Alpha = Annotated[float, Field(gt=0)]


class MixupOperator(OneKey):
    """Blend every image and its target with another's, by a share drawn from Beta(alpha, alpha).

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


class CutmixOperator(OneKey):
    """Paste a random rectangle of another image, and weigh the targets by the areas.

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


MixOp = one_of(MixupOperator, CutmixOperator)
"""The annotation of one entry of `batch_transform_ops`."""
