"""Normalisation at the end of a list of transforms: one affine map a channel."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ppcls.data.transforms.base import TRANSFORMS, PerChannel, Transform, per_channel
from ppcls.options import Fraction

__all__ = ["Affine", "NormalizeImage", "ToCHWImage", "no_change"]


class Affine(NamedTuple):
    """`pixel * scale + bias`, both float32 (C,): `NormalizeImage` as an affine map."""

    scale: np.ndarray
    bias: np.ndarray


def no_change(channels: int) -> Affine:
    """Return the affine map that leaves images of this number of channels unchanged."""
    return Affine(np.ones(channels, np.float32), np.zeros(channels, np.float32))


@TRANSFORMS.register
class NormalizeImage(Transform):
    """`(image * scale - mean) / std` for each channel, in any layout (`order`).

    It ends a list, before or after `ToCHWImage`; only transforms that hide parts may follow. `mean`
    and `std` have one value for each channel, or a single one for all. Three values, as for RGB,
    become their average where there is another number of channels.
    """

    scale: Fraction = 1 / 255
    mean: PerChannel = [0.485, 0.456, 0.406]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = [
        0.229,
        0.224,
        0.225,
    ]
    order: Literal["", "hwc", "chw"] = "chw"

    def for_channels(self, channels: int) -> NormalizeImage:
        """Return the operation with this number of means and deviations."""
        mean = per_channel("NormalizeImage.mean", self.mean, channels)
        std = per_channel("NormalizeImage.std", self.std, channels)
        if (mean, std) == (self.mean, self.std):
            return self
        return self.model_copy(update={"mean": mean, "std": std})

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
