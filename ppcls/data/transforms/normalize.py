"""Normalisation at the end of a list of transforms: one affine map a channel."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ppcls.data.transforms.base import TRANSFORMS, Transform
from ppcls.options import Fraction

__all__ = ["NO_CHANGE", "Affine", "NormalizeImage", "ToCHWImage"]


class Affine(NamedTuple):
    """`pixel * scale + bias`, both float32 (3,): `NormalizeImage` as an affine map."""

    scale: np.ndarray
    bias: np.ndarray


NO_CHANGE = Affine(np.ones(3, np.float32), np.zeros(3, np.float32))


@TRANSFORMS.register
class NormalizeImage(Transform):
    """`(image * scale - mean) / std` for each channel, in any layout (`order`).

    It ends a list, before or after `ToCHWImage`; only transforms that hide parts may follow.
    """

    scale: Fraction = 1 / 255
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.485, 0.456, 0.406]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [
        0.229,
        0.224,
        0.225,
    ]
    order: Literal["", "hwc", "chw"] = "chw"

    @property
    def affine(self) -> Affine:
        """The operation as an affine map."""
        std = np.asarray(self.std)
        return Affine(
            (self.scale / std).astype(np.float32),
            (-np.asarray(self.mean) / std).astype(np.float32),
        )


@TRANSFORMS.register
class ToCHWImage(Transform):
    """Put the channels first. Batches are channels first either way."""
