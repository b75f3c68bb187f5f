"""Augmentations of colour and geometry."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from PIL import Image, ImageEnhance
from pydantic import Field, model_validator

from ppcls.data.transforms.base import TRANSFORMS, Colour, Probability, Transform, per_channel

__all__ = ["ColorJitter", "Pad", "RandomGrayscale", "RandomRotation"]

_Fill = Annotated[int, Field(ge=0, le=255)] | Colour


def _colour(fill: int | list[int], channels: int) -> list[int]:
    return per_channel("fill", fill if isinstance(fill, list) else [fill], channels)


_NotNegative = Annotated[float, Field(ge=0)]


@TRANSFORMS.register
class RandomRotation(Transform):
    """Rotate the image about its centre, with the probability `prob`.

    The counter-clockwise angle is drawn from `degrees`: [least, most], or -degrees to degrees.
    `expand` enlarges the image so that the rotated one fits; `center`, [x, y] in pixels, moves the
    centre of rotation. `fill` is the colour of uncovered pixels, or one number for all channels.
    """

    random: ClassVar[bool] = True

    prob: Probability = 0.5
    degrees: _NotNegative | Annotated[list[float], Field(min_length=2, max_length=2)]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "nearest"
    expand: bool = False
    center: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    fill: _Fill = 0

    @model_validator(mode="after")
    def _fits(self) -> RandomRotation:
        if isinstance(self.degrees, list) and self.degrees[0] > self.degrees[1]:
            raise ValueError(f"degrees must be [least, most], not {self.degrees}")
        if self.expand and self.center:
            raise ValueError("expand needs the default centre: set only one of expand and center")
        return self

    def for_channels(self, channels: int) -> RandomRotation:
        """Return the operation, whose `fill` fits this number of channels."""
        per_channel(
            "RandomRotation.fill", self.fill if isinstance(self.fill, list) else [0], channels
        )
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, C), rotated or not."""
        if rng.random() >= self.prob:
            return image
        least, most = (
            self.degrees if isinstance(self.degrees, list) else (-self.degrees, self.degrees)
        )
        height, width = image.shape[:2]
        center = self.center or ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(center, rng.uniform(least, most), 1.0)
        size = (width, height)
        if self.expand:
            cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
            # Less than a thousandth of a pixel beyond an edge is a rounding error.
            size = (
                math.ceil(width * cos + height * sin - 1e-3),
                math.ceil(width * sin + height * cos - 1e-3),
            )
            shift = np.array([size[0] - width, size[1] - height]) / 2
            matrix[:, 2] = matrix[:, 2] + shift
        fill = _colour(self.fill, image.shape[2])

        def turned(part: np.ndarray, fill: list[int]) -> np.ndarray:
            return cv2.warpAffine(
                part,
                matrix,
                size,
                flags={
                    "nearest": cv2.INTER_NEAREST,
                    "bilinear": cv2.INTER_LINEAR,
                    "bicubic": cv2.INTER_CUBIC,
                    "lanczos": cv2.INTER_LANCZOS4,
                }[self.interpolation],
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=fill,
            )

        if len(fill) == 3:
            return turned(image, fill)
        return np.dstack([turned(image[..., i], [value]) for i, value in enumerate(fill)])


_Factor = _NotNegative | Annotated[list[_NotNegative], Field(min_length=2, max_length=2)]
_Hue = Annotated[float, Field(ge=-0.5, le=0.5)]


@TRANSFORMS.register
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue in random order, with probability `prob`.

    A number `v` means factors from `max(0, 1 - v)` to `1 + v`; a list gives [least, most]. `hue` is
    in turns of the colour circle: a number `v`, up to 0.5, means shifts from -v to v.
    """

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    prob: Probability = 1.0
    brightness: _Factor = 0.0
    contrast: _Factor = 0.0
    saturation: _Factor = 0.0
    hue: (
        Annotated[float, Field(ge=0, le=0.5)]
        | Annotated[list[_Hue], Field(min_length=2, max_length=2)]
    ) = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> ColorJitter:
        for name in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, name)
            if isinstance(value, list) and value[0] > value[1]:
                raise ValueError(f"{name} must be [least, most], not {value}")
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, C), with changed colours."""
        if rng.random() >= self.prob:
            return image
        picture = Image.fromarray(image)
        for index in rng.permutation(4):
            name = ("brightness", "contrast", "saturation", "hue")[index]
            amount = getattr(self, name)
            if amount == 0:
                continue
            if name == "hue":
                least, most = amount if isinstance(amount, list) else (-amount, amount)
                picture = _turn_hue(picture, rng.uniform(least, most))
            else:
                least, most = (
                    amount if isinstance(amount, list) else (max(0.0, 1 - amount), 1 + amount)
                )
                picture = _ENHANCERS[name](picture).enhance(rng.uniform(least, most))
        return np.array(picture)


_ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


def _turn_hue(picture: Image.Image, turns: float) -> Image.Image:
    """Shift the hue by a fraction of the colour circle, which has 255 steps in Pillow."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point([(step + round(turns * 255)) % 255 for step in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


@TRANSFORMS.register
class RandomGrayscale(Transform):
    """Replace the colours by their luma (ITU-R 601), with the probability `p`."""

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    p: Probability = 0.1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, C), in gray or not."""
        if rng.random() >= self.p:
            return image
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


@TRANSFORMS.register
class Pad(Transform):
    """Add `padding` pixels of the colour `fill` on every side.

    A list of four is [left, top, right, bottom]; one number as `fill` is for all channels.
    """

    padding: (
        Annotated[int, Field(ge=0, le=16384)]
        | Annotated[list[Annotated[int, Field(ge=0, le=16384)]], Field(min_length=4, max_length=4)]
    )
    fill: _Fill = 0

    def for_channels(self, channels: int) -> Pad:
        """Return the operation, whose `fill` fits this number of channels."""
        per_channel("Pad.fill", self.fill if isinstance(self.fill, list) else [0], channels)
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, C), with the border."""
        left, top, right, bottom = (
            self.padding if isinstance(self.padding, list) else [self.padding] * 4
        )
        height, width, channels = image.shape
        out = np.empty((top + height + bottom, left + width + right, channels), np.uint8)
        out[:] = _colour(self.fill, channels)
        out[top : top + height, left : left + width] = image
        return out
