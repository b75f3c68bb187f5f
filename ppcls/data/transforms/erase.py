"""Augmentations that hide parts of an image.

They may stand before `NormalizeImage`, on uint8 pixels, or after it, on float32 ones: a fill of 0
is black before it and the mean colour after it, as published lists have it.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from ppcls.data.transforms.base import (
    TRANSFORMS,
    Colour,
    PerChannel,
    Pixels,
    Probability,
    Transform,
    per_channel,
)
from ppcls.errors import ConfigError
from ppcls.options import Fraction

__all__ = ["Cutout", "GridMask", "HideAndSeek", "RandomErasing"]


@TRANSFORMS.register
class RandomErasing(Transform):
    """Fill a random rectangle, with the probability `EPSILON`.

    Its area is a share of the image's area between `sl` and `sh`. Its height divided by its width
    is between `r1` and `1 / r1`, drawn evenly or evenly in the logarithm (`use_log_aspect`). The
    first of `attempt` draws that fits is used. The mode `const` fills with `mean`, in the units of
    the image at this place in the list. `rand` draws one colour and `pixel` each pixel from the
    standard normal distribution; both need to follow `NormalizeImage`.
    https://arxiv.org/abs/1708.04896
    """

    random: ClassVar[bool] = True
    after_normalize: ClassVar[bool] = True

    EPSILON: Probability = 0.5
    sl: Probability = 0.02
    sh: Probability = 0.4
    r1: Annotated[Fraction, Field(gt=0, le=1)] = 0.3
    mean: PerChannel = [0.0, 0.0, 0.0]
    attempt: Annotated[int, Field(gt=0, le=1000)] = 100
    use_log_aspect: bool = False
    mode: Literal["const", "rand", "pixel"] = "const"

    @model_validator(mode="after")
    def _fits(self) -> RandomErasing:
        if self.sl > self.sh:
            raise ValueError(f"sl ({self.sl:g}) is above sh ({self.sh:g})")
        if self.mode != "const" and any(self.mean):
            raise ValueError(f"mean needs mode const; mode is {self.mode}")
        return self

    def for_channels(self, channels: int) -> RandomErasing:
        """Return the operation, whose `mean` fits this number of channels."""
        per_channel("RandomErasing.mean", self.mean, channels)
        return self

    def check_place(self, normalized: bool) -> None:
        """Raise a ConfigError for a normalised fill on pixels, or a colour after normalising."""
        if normalized:
            return
        if self.mode != "const":
            raise ConfigError(
                f"transform_ops: RandomErasing with mode: {self.mode} fills with normalised "
                "values; put it after NormalizeImage"
            )
        if not all(0 <= value <= 255 for value in self.mean):
            raise ConfigError(
                f"transform_ops: RandomErasing.mean {self.mean} is not a colour of 0 to 255; "
                "for normalised values, put RandomErasing after NormalizeImage"
            )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image (H, W, C), uint8 or float32, with or without a hole."""
        if rng.random() >= self.EPSILON:
            return image
        height, width = image.shape[:2]
        for _ in range(self.attempt):
            area = rng.uniform(self.sl, self.sh) * height * width
            if self.use_log_aspect:
                aspect = math.exp(rng.uniform(math.log(self.r1), -math.log(self.r1)))
            else:
                aspect = rng.uniform(self.r1, 1 / self.r1)
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < h < height and 0 < w < width:
                top = rng.integers(0, height - h, endpoint=True)
                left = rng.integers(0, width - w, endpoint=True)
                image = image.copy()
                image[top : top + h, left : left + w] = self._fill((h, w), image, rng)
                break
        return image

    def _fill(
        self, size: tuple[int, int], image: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        channels = image.shape[2]
        if self.mode == "pixel":
            return rng.standard_normal((*size, channels), np.float32)
        if self.mode == "rand":
            return rng.standard_normal((channels,), np.float32)
        mean = np.asarray(per_channel("RandomErasing.mean", self.mean, channels))
        return mean if image.dtype == np.float32 else np.rint(mean)


@TRANSFORMS.register
class Cutout(Transform):
    """Fill `n_holes` squares with sides of `length` pixels; they may cross the edge.

    `fill_value` is a colour, or null (or `none`) for a random one in each hole.
    https://arxiv.org/abs/1708.04552
    """

    random: ClassVar[bool] = True
    after_normalize: ClassVar[bool] = True

    n_holes: Annotated[int, Field(gt=0)] = 1
    length: Pixels = 112
    fill_value: Colour | Literal["none"] | None = [0, 0, 0]

    def for_channels(self, channels: int) -> Cutout:
        """Return the operation, whose `fill_value` fits this number of channels."""
        if isinstance(self.fill_value, list):
            per_channel("Cutout.fill_value", self.fill_value, channels)
        return self

    def check_place(self, normalized: bool) -> None:
        """Raise a ConfigError for a colour after `NormalizeImage`."""
        if normalized and (not isinstance(self.fill_value, list) or any(self.fill_value)):
            raise ConfigError(
                "transform_ops: Cutout.fill_value is a colour of 0 to 255; put Cutout before "
                "NormalizeImage, or leave fill_value at 0 for the mean colour"
            )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image (H, W, C), uint8 or float32, with holes."""
        image = image.copy()
        height, width = image.shape[:2]
        half = self.length // 2
        for _ in range(self.n_holes):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            colour: Any = self.fill_value
            if isinstance(colour, list):
                colour = per_channel("Cutout.fill_value", colour, image.shape[2])
            else:
                colour = rng.integers(0, 256, image.shape[2])
            image[max(0, y - half) : y + half, max(0, x - half) : x + half] = colour
        return image


@TRANSFORMS.register
class GridMask(Transform):
    """Hide a grid, with the probability `prob`.

    The period is drawn from `d1` to below `d2` pixels, the phase at random, and the angle from 0 to
    below `rotate` degrees. Bands take the share `ratio` of each period. Mode 0 hides the bands and
    keeps the squares between them; mode 1 hides the squares and keeps the bands.
    https://arxiv.org/abs/2001.04086
    """

    random: ClassVar[bool] = True
    after_normalize: ClassVar[bool] = True

    d1: Pixels = 96
    d2: Pixels = 224
    rotate: Annotated[int, Field(gt=0, le=360)] = 1
    ratio: Annotated[Fraction, Field(gt=0, lt=1)] = 0.5
    mode: Literal[0, 1] = 0
    prob: Probability = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> GridMask:
        if self.d1 >= self.d2:
            raise ValueError(f"d1 ({self.d1}) must be below d2 ({self.d2})")
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image (H, W, C), uint8 or float32, with or without the grid."""
        if rng.random() >= self.prob:
            return image
        height, width = image.shape[:2]
        period = int(rng.integers(self.d1, self.d2))
        band = int(period * self.ratio + 0.5)
        # Half as large again as the image, so that rotation uncovers no corner.
        rows, columns = (
            (np.arange(int(1.5 * side)) - rng.integers(period)) % period >= band
            for side in (height, width)
        )
        mask = np.outer(rows, columns).astype(np.uint8)
        if self.rotate > 1:
            mask = np.asarray(Image.fromarray(mask).rotate(int(rng.integers(self.rotate))))
        top, left = (mask.shape[0] - height) // 2, (mask.shape[1] - width) // 2
        mask = mask[top : top + height, left : left + width, None]
        return image * (1 - mask if self.mode else mask)


@TRANSFORMS.register
class HideAndSeek(Transform):
    """Divide the image into squares of 16, 32, 44 or 56 pixels and hide each with probability 0.5.

    One image in five stays unchanged. https://arxiv.org/abs/1811.02545
    """

    random: ClassVar[bool] = True
    after_normalize: ClassVar[bool] = True

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image (H, W, C), uint8 or float32, with or without hidden squares."""
        side = int(rng.choice((0, 16, 32, 44, 56)))
        if not side:
            return image
        height, width = image.shape[:2]
        shown = rng.random((-(-height // side), -(-width // side))) >= 0.5
        shown = shown.repeat(side, axis=0).repeat(side, axis=1)
        return image * shown[:height, :width, None]
