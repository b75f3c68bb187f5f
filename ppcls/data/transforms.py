"""Image transforms: each class is its own option list and its own implementation.

A configuration's `transform_ops` is a list of these. The same list runs in evaluation, is written
into an exported bundle and runs in the predictor. Images are uint8 (H, W, 3) RGB throughout:
`NormalizeImage` and `ToCHWImage` end a list and are folded into one affine map per channel,
applied to a whole batch (`Pipeline.affine`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from pydantic import Field, model_validator

from ppcls.data import image as image_reader
from ppcls.errors import ConfigError
from ppcls.options import Fraction, OneKey, one_of

__all__ = [
    "Affine",
    "CropImage",
    "DecodeImage",
    "NormalizeImage",
    "Pipeline",
    "RandCropImage",
    "RandFlipImage",
    "ResizeImage",
    "ToCHWImage",
    "TransformOp",
]

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
Interpolation = Literal["nearest", "bilinear", "bicubic", "area", "lanczos"]
Pixels = Annotated[int, Field(gt=0, le=16384)]
Size = Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
Range = Annotated[list[Fraction], Field(min_length=2, max_length=2)]


def _width_height(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class Transform(OneKey):
    """An image operation, with the options it takes.

    Attributes:
        random: whether it draws random numbers, which only training may.
    """

    random: ClassVar[bool] = False


class DecodeImage(Transform):
    """Read the image (always RGB, height first). Begins every list.

    `to_np` told two kinds of images apart; images always are arrays here, and it is not kept.
    """

    to_rgb: Literal[True] = True
    to_np: Annotated[bool, Field(exclude=True)] = True
    channel_first: Literal[False] = False

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3) RGB, of a path, bytes or an array."""
        return image_reader.read(source)


class ResizeImage(Transform):
    """Resize to `size` (a side, or [width, height]), or the short side to `resize_short`."""

    size: Size | None = None
    resize_short: Pixels | None = None
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _one_of_the_two(self) -> ResizeImage:
        if (self.size is None) == (self.resize_short is None):
            raise ValueError("set exactly one of size and resize_short")
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image resized."""
        if self.size is not None:
            size = _width_height(self.size)
        else:
            height, width = image.shape[:2]
            ratio = self.resize_short / min(height, width)  # type: ignore[operator]
            size = (round(width * ratio), round(height * ratio))
        return cv2.resize(image, size, interpolation=_INTERPOLATION[self.interpolation])


class CropImage(Transform):
    """Crop the centre to `size`; an image smaller than that gets an even black border."""

    size: Size

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the centre of the image."""
        width, height = _width_height(self.size)
        down, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
        if down or right:
            image = cv2.copyMakeBorder(
                image,
                down // 2,
                down - down // 2,
                right // 2,
                right - right // 2,
                cv2.BORDER_CONSTANT,
            )
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width]


class RandCropImage(Transform):
    """Crop a random part, `scale` of the area and `ratio` wide to high, and resize it to `size`.

    The crop of GoogLeNet (https://arxiv.org/abs/1409.4842), drawn as PaddleClas does: the aspect
    ratio is the square of a uniform draw between the square roots of `ratio`'s ends, and the area
    is limited to what fits, so that no draw is ever rejected.
    """

    random: ClassVar[bool] = True

    size: Size
    scale: Range = [0.08, 1.0]
    ratio: Range = [3 / 4, 4 / 3]
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _ordered(self) -> RandCropImage:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be ordered and within (0, 1], not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be ordered and positive, not {self.ratio}")
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a random part of the image, resized."""
        height, width = image.shape[:2]
        aspect = rng.uniform(math.sqrt(self.ratio[0]), math.sqrt(self.ratio[1]))
        fits = min(width / height / aspect**2, height / width * aspect**2)
        area = rng.uniform(min(self.scale[0], fits), min(self.scale[1], fits))
        side = math.sqrt(area * width * height)
        crop_width = min(width, max(1, int(side * aspect)))
        crop_height = min(height, max(1, int(side / aspect)))
        left = int(rng.integers(0, width - crop_width, endpoint=True))
        top = int(rng.integers(0, height - crop_height, endpoint=True))
        return cv2.resize(
            image[top : top + crop_height, left : left + crop_width],
            _width_height(self.size),
            interpolation=_INTERPOLATION[self.interpolation],
        )


class RandFlipImage(Transform):
    """Flip every second image: left to right (1), top to bottom (0), or both (-1)."""

    random: ClassVar[bool] = True

    flip_code: Literal[1, 0, -1] = 1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, flipped or not."""
        return cv2.flip(image, self.flip_code) if rng.random() < 0.5 else image


class NormalizeImage(Transform):
    """`(image * scale - mean) / std` for each channel. Ends a list, before `ToCHWImage`."""

    scale: Fraction = 1 / 255
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.485, 0.456, 0.406]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [
        0.229,
        0.224,
        0.225,
    ]
    order: Literal["", "hwc", "chw"] = "chw"


class ToCHWImage(Transform):
    """Put the channels first. May end a list; batches are channels first either way."""


TransformOp = one_of(
    DecodeImage,
    ResizeImage,
    CropImage,
    RandCropImage,
    RandFlipImage,
    NormalizeImage,
    ToCHWImage,
)
"""The annotation of one entry of `transform_ops`."""


class Affine(NamedTuple):
    """`pixel * scale + bias`, both float32 (3,): what `NormalizeImage` comes to."""

    scale: np.ndarray
    bias: np.ndarray


class Pipeline:
    """A list of transforms, split into what works on one image and what works on a batch.

    Args:
        ops: transforms as in a configuration: `DecodeImage` first, then image operations, then
            optionally `NormalizeImage` and `ToCHWImage`.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, or normalises in the middle.
    """

    def __init__(self, ops: Sequence[Any]):
        if not ops or not isinstance(ops[0], DecodeImage):
            raise ConfigError("transform_ops must begin with DecodeImage")
        end = next((i for i, op in enumerate(ops) if isinstance(op, NormalizeImage)), len(ops))
        tail = [op for op in ops[end + 1 :] if not isinstance(op, ToCHWImage)]
        if tail or any(isinstance(op, ToCHWImage) for op in ops[:end][:-1]):
            raise ConfigError(
                "transform_ops: NormalizeImage, then ToCHWImage, must be the last operations"
            )
        self.image_ops = [op for op in ops[:end] if not isinstance(op, ToCHWImage)]
        if end < len(ops):
            normalize = ops[end]
            std = np.asarray(normalize.std)
            self.affine = Affine(
                (normalize.scale / std).astype(np.float32),
                (-np.asarray(normalize.mean) / std).astype(np.float32),
            )
        else:
            self.affine = Affine(np.ones(3, np.float32), np.zeros(3, np.float32))

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image, uint8 (H, W, 3), not yet normalised."""
        for op in self.image_ops:
            source = op(source, rng)
        return source

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Map uint8 (N, H, W, 3) to the model's input, float32 (N, 3, H, W)."""
        batch = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        batch *= self.affine.scale[:, None, None]
        batch += self.affine.bias[:, None, None]
        return batch
