"""Image transforms: each class is its own option list and its own implementation.

A configuration's `transform_ops` is a list of these. The same list runs in evaluation, is written
into an exported bundle and runs in the predictor. Images are uint8 (H, W, 3) RGB: `NormalizeImage`
and `ToCHWImage` end a list and are folded into one affine map per channel, applied to a whole batch
(`Pipeline.affine`). Only where augmentations that hide parts of an image follow `NormalizeImage`,
as in some published lists, is it applied in its place, and images are float32 from there on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from PIL import Image
from pydantic import Field, field_validator, model_validator

from ppcls.data import image as image_reader
from ppcls.data.transforms.base import Pixels, Range, Size, Transform
from ppcls.data.transforms.colour_geometry import ColorJitter, Pad, RandomGrayscale, RandomRotation
from ppcls.data.transforms.erase import Cutout, GridMask, HideAndSeek, RandomErasing
from ppcls.data.transforms.policies import (
    AugMix,
    AutoAugment,
    RandAugment,
    RandAugmentV2,
    TimmAutoAugment,
)
from ppcls.errors import ConfigError
from ppcls.options import Fraction, one_of

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

_CV2 = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
    "hamming": Image.Resampling.HAMMING,
}
Interpolation = Literal["nearest", "bilinear", "bicubic", "area", "box", "lanczos", "hamming"]


def _width_height(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class _Resizing(Transform):
    """What resizes: with OpenCV (bilinear unless said), or Pillow (bicubic unless said).

    Pillow smooths what it makes smaller; OpenCV does so with `area` alone.
    """

    backend: Literal["cv2", "pil"] = "cv2"
    interpolation: Interpolation = Field(
        default_factory=lambda options: "bilinear" if options["backend"] == "cv2" else "bicubic"
    )

    @field_validator("backend", mode="before")
    @classmethod
    def _any_case(cls, backend: Any) -> Any:
        return backend.lower() if isinstance(backend, str) else backend

    @model_validator(mode="after")
    def _known(self) -> _Resizing:
        known = _CV2 if self.backend == "cv2" else _PILLOW
        if self.interpolation not in known:
            raise ValueError(
                f"backend {self.backend} interpolates by {', '.join(known)}; not by "
                f"{self.interpolation}"
            )
        return self

    def _resize(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if self.backend == "cv2":
            return cv2.resize(image, size, interpolation=_CV2[self.interpolation])
        resample = _PILLOW[self.interpolation]
        return np.array(Image.fromarray(image).resize(size, resample))


class DecodeImage(Transform):
    """Read the image (always RGB, height first). Begins every list.

    `to_np` told two kinds of images apart; images always are arrays here, and it is not kept.
    """

    refused: ClassVar[dict[str, str]] = {
        "backend": "there is one decoder (docs/images.md) whatever it says; leave it out"
    }

    to_rgb: Literal[True] = True
    to_np: Annotated[bool, Field(exclude=True)] = True
    channel_first: Literal[False] = False

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3) RGB, of a path, bytes or an array."""
        return image_reader.read(source)


class ResizeImage(_Resizing):
    """Resize to `size` (a side, or [width, height]), or the short side to `resize_short`.

    `interpolation` is bilinear with the backend `cv2` and bicubic with `pil` unless it is set.
    """

    size: Size | None = None
    resize_short: Pixels | None = None
    return_numpy: Literal[True] = True

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
        return self._resize(image, size)


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


class RandCropImage(_Resizing):
    """Crop a random part, `scale` of the area and `ratio` wide to high, and resize it to `size`.

    The crop of GoogLeNet (https://arxiv.org/abs/1409.4842), drawn as PaddleClas does: the area and
    the ratio (`use_log_aspect`: its logarithm) evenly, and the area limited to what fits, so that
    no draw is ever rejected.
    """

    random: ClassVar[bool] = True

    size: Size
    scale: Range = [0.08, 1.0]
    ratio: Range = [3 / 4, 4 / 3]
    use_log_aspect: bool = False

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
        least, most = self.ratio
        if self.use_log_aspect:
            ratio = math.exp(rng.uniform(math.log(least), math.log(most)))
        else:
            ratio = rng.uniform(least, most)
        aspect = math.sqrt(ratio)
        fits = min(width / height / aspect**2, height / width * aspect**2)
        area = rng.uniform(min(self.scale[0], fits), min(self.scale[1], fits))
        side = math.sqrt(area * width * height)
        crop_width = min(width, max(1, int(side * aspect)))
        crop_height = min(height, max(1, int(side / aspect)))
        left = int(rng.integers(0, width - crop_width, endpoint=True))
        top = int(rng.integers(0, height - crop_height, endpoint=True))
        crop = image[top : top + crop_height, left : left + crop_width]
        return self._resize(crop, _width_height(self.size))


class RandFlipImage(Transform):
    """Flip every second image: left to right (1), top to bottom (0), or both (-1)."""

    random: ClassVar[bool] = True

    flip_code: Literal[1, 0, -1] = 1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, flipped or not."""
        return cv2.flip(image, self.flip_code) if rng.random() < 0.5 else image


class NormalizeImage(Transform):
    """`(image * scale - mean) / std` for each channel, wherever they are (`order`).

    Ends a list, before or after `ToCHWImage`; only what hides parts of an image may follow.
    """

    scale: Fraction = 1 / 255
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.485, 0.456, 0.406]
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] = [
        0.229,
        0.224,
        0.225,
    ]
    order: Literal["", "hwc", "chw"] = "chw"
    channel_num: Literal[3] = 3
    output_fp16: Literal[False] = False

    @property
    def affine(self) -> Affine:
        """What it comes to."""
        std = np.asarray(self.std)
        return Affine(
            (self.scale / std).astype(np.float32),
            (-np.asarray(self.mean) / std).astype(np.float32),
        )


class ToCHWImage(Transform):
    """Put the channels first. Batches are channels first either way."""


TransformOp = one_of(
    DecodeImage,
    ResizeImage,
    CropImage,
    RandCropImage,
    RandFlipImage,
    RandomRotation,
    ColorJitter,
    RandomGrayscale,
    Pad,
    AutoAugment,
    RandAugment,
    RandAugmentV2,
    TimmAutoAugment,
    AugMix,
    RandomErasing,
    Cutout,
    GridMask,
    HideAndSeek,
    NormalizeImage,
    ToCHWImage,
)
"""The annotation of one entry of `transform_ops`."""


class Affine(NamedTuple):
    """`pixel * scale + bias`, both float32 (3,): what `NormalizeImage` comes to."""

    scale: np.ndarray
    bias: np.ndarray


NO_CHANGE = Affine(np.ones(3, np.float32), np.zeros(3, np.float32))


class Pipeline:
    """A list of transforms, split into what works on one image and what works on a batch.

    Args:
        ops: transforms as in a configuration: `DecodeImage` first, then image operations, then
            optionally `NormalizeImage` and `ToCHWImage`, then what hides parts of images.

    Attributes:
        image_ops: the operations on uint8 images.
        normalize_op: `NormalizeImage`, where the list has it.
        float_ops: the operations on normalised images.
        affine: what is left to do with a batch: `NormalizeImage`, unless `float_ops` need it done.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, or an operation is in a place where
            it cannot work.
    """

    def __init__(self, ops: Sequence[Any]):
        if not ops or not isinstance(ops[0], DecodeImage):
            raise ConfigError("transform_ops must begin with DecodeImage")
        self.image_ops: list[Transform] = []
        self.float_ops: list[Transform] = []
        self.normalize_op: NormalizeImage | None = None
        last: Transform | None = None
        for op in ops:
            name = type(op).__name__
            if isinstance(op, (NormalizeImage, ToCHWImage)):
                if any(other is not op and type(other) is type(op) for other in ops):
                    raise ConfigError(f"transform_ops: {name} is there twice")
                last = op
                if isinstance(op, NormalizeImage):
                    self.normalize_op = op
            elif last and not op.after_normalize:
                raise ConfigError(
                    f"transform_ops: {name} cannot follow {type(last).__name__}; NormalizeImage "
                    "and ToCHWImage must be the last operations, before those that hide parts"
                )
            else:
                op.check_place(normalized=self.normalize_op is not None)
                (self.float_ops if self.normalize_op else self.image_ops).append(op)
        folded = self.normalize_op if not self.float_ops else None
        self.affine = folded.affine if folded else NO_CHANGE

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image (H, W, 3): uint8, or float32 where there are `float_ops`."""
        for op in self.image_ops:
            source = op(source, rng)
        if self.normalize_op and self.float_ops:
            scale, bias = self.normalize_op.affine
            values = np.arange(256, dtype=np.float32)[:, None] * scale + bias
            source = cv2.LUT(source, values[None])
            for op in self.float_ops:
                source = op(source, rng)
        return source

    def gives_same(self, other: Pipeline) -> bool:
        """Whether another list of transforms gives the same images, normalised the same."""
        affines = zip(self.affine, other.affine, strict=True)
        return self.image_ops == other.image_ops and all(np.array_equal(a, b) for a, b in affines)

    def output_shape(self, height: int, width: int) -> list[int]:
        """Return [C, H, W] of what becomes of an image of that height and width."""
        image = self(np.zeros((height, width, 3), np.uint8), np.random.default_rng(0))
        return [image.shape[2], *image.shape[:2]]

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Map transformed images (N, H, W, 3) to the model's input, float32 (N, 3, H, W)."""
        batch = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        batch *= self.affine.scale[:, None, None]
        batch += self.affine.bias[:, None, None]
        return batch

    def to_pixels(self, images: np.ndarray) -> np.ndarray:
        """Map model inputs (N, 3, H, W), such as mixed ones, back to uint8 (N, H, W, 3), to see."""
        scale, bias = self.normalize_op.affine if self.normalize_op else NO_CHANGE
        pixels = (images.transpose(0, 2, 3, 1) - bias) / scale
        return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
