"""Transforms that decode, resize, crop and flip images."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field, field_validator, model_validator

from ppcls.data import image as image_reader
from ppcls.data.transforms.base import (
    TRANSFORMS,
    Channels,
    Range,
    Size,
    Transform,
    each_band,
)
from ppcls.errors import ConfigError, ImageError
from ppcls.options import Fraction, Side

__all__ = ["CropImage", "DecodeImage", "RandCropImage", "RandFlipImage", "ResizeImage"]

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


def _size(height: int, width: int) -> int | list[int]:
    """Return a size as an option: a side, or [width, height]."""
    return width if width == height else [width, height]


def _width_height(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class _Resizing(Transform):
    """A transform that resizes with OpenCV (bilinear by default) or Pillow (bicubic by default).

    Pillow smooths when it reduces an image; OpenCV does so only with `area`.
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
                f"backend {self.backend} interpolates by {', '.join(known)}, not by "
                f"{self.interpolation}"
            )
        return self

    def _resize(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if self.backend == "cv2":
            how = _CV2[self.interpolation]
            return each_band(lambda part: cv2.resize(part, size, interpolation=how), image)
        resample = _PILLOW[self.interpolation]
        return each_band(lambda part: np.array(Image.fromarray(part).resize(size, resample)), image)


@TRANSFORMS.register
class DecodeImage(Transform):
    """Read the image, height first. Every list begins with it.

    `channels` is 3 for RGB, 1 for gray (the luma of RGB), or the number of bands of every image.
    The default is `Global.in_channels`, and RGB outside of a configuration.
    """

    channels: Channels | None = None

    def for_channels(self, channels: int) -> DecodeImage:
        """Return the operation with this number of channels filled in; None stands for RGB.

        Raises:
            ConfigError: it has another number.
        """
        if self.channels not in (None, channels):
            raise ConfigError(
                f"DecodeImage.channels is {self.channels}, but the model takes {channels} "
                "(Global.in_channels); leave it out"
            )
        own = None if channels == 3 else channels
        return self if self.channels == own else self.model_copy(update={"channels": own})

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, channels), of a path, bytes or an array."""
        return image_reader.read(source, channels=self.channels or 3)


@TRANSFORMS.register
class ResizeImage(_Resizing):
    """Resize to a fixed size, or to one derived from `Global.image_size`.

    `size` sets the result (a side, or [width, height]), `resize_short` its shorter side, and
    `cover` a size ([width, height]) that the result just covers. With none of them, the result just
    covers `Global.image_size` divided by `crop_pct` (default 0.875; rounded down), and `CropImage`
    takes its centre. With `keep_ratio: false` the result is `Global.image_size`, whatever the
    proportions of the image. The default `interpolation` is bilinear with the backend `cv2` and
    bicubic with `pil`.
    """

    size: Size | None = None
    resize_short: Side | None = None
    cover: Size | None = None
    crop_pct: Annotated[Fraction, Field(gt=0, le=1)] | None = None
    keep_ratio: bool | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ResizeImage:
        own = [key for key in ("size", "resize_short", "cover") if getattr(self, key) is not None]
        if len(own) > 1:
            raise ValueError(f"set only one of size, resize_short, cover; found {', '.join(own)}")
        for key in ("crop_pct", "keep_ratio"):
            if own and getattr(self, key) is not None:
                raise ValueError(
                    f"{key} is for Global.image_size, but {own[0]} is set; leave one of them out"
                )
        if self.keep_ratio is False and self.crop_pct is not None:
            raise ValueError("crop_pct has no effect with keep_ratio: false; leave one of them out")
        return self

    @property
    def follows_image_size(self) -> bool:
        """Whether it takes its size from `Global.image_size`."""
        return self.size is None and self.resize_short is None and self.cover is None

    def sized(self, height: int, width: int) -> ResizeImage:
        """Return the operation with this image size filled in."""
        if not self.follows_image_size:
            return self
        own: dict[str, Any] = {"crop_pct": None, "keep_ratio": None}
        if self.keep_ratio is False:
            return self.model_copy(update=own | {"size": _size(height, width)})
        height, width = (math.floor(side / (self.crop_pct or 0.875)) for side in (height, width))
        if height == width:
            return self.model_copy(update=own | {"resize_short": width})
        return self.model_copy(update=own | {"cover": [width, height]})

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image resized."""
        if self.size is not None:
            return self._resize(image, _width_height(self.size))
        height, width = image.shape[:2]
        if self.resize_short is not None:
            ratio = self.resize_short / min(height, width)
        else:
            assert self.cover is not None, "sized() comes first"
            across, down = _width_height(self.cover)
            ratio = max(across / width, down / height)
        size = (round(width * ratio), round(height * ratio))
        if size[0] * size[1] > image_reader.MAX_PIXELS:
            raise ImageError(
                f"{width}x{height} is too long and narrow: resized it would have {size[0]}x"
                f"{size[1]} pixels, more than the limit of {image_reader.MAX_PIXELS}"
            )
        return self._resize(image, size)


@TRANSFORMS.register
class CropImage(Transform):
    """Crop the centre to `size`; a smaller image gets an even black border.

    `size` is a side or [width, height]; the default is `Global.image_size`.
    """

    size: Size | None = None

    @property
    def follows_image_size(self) -> bool:
        """Whether it takes its size from `Global.image_size`."""
        return self.size is None

    def sized(self, height: int, width: int) -> CropImage:
        """Return the operation with this image size filled in."""
        return self if self.size else self.model_copy(update={"size": _size(height, width)})

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the centre of the image."""
        assert self.size is not None, "sized() comes first"
        width, height = _width_height(self.size)
        down, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
        if down or right:
            edges = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))
            image = np.pad(image, edges)
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width]


@TRANSFORMS.register
class RandCropImage(_Resizing):
    """Crop a random part and resize it to `size`.

    `scale` is the range of the part's share of the area, `ratio` that of width divided by height.
    This is the crop of GoogLeNet (https://arxiv.org/abs/1409.4842), drawn as in PaddleClas: the
    area and the ratio (`use_log_aspect`: its logarithm) evenly, with the area limited so that every
    draw fits. `size` is a side or [width, height]; the default is `Global.image_size`.
    """

    random: ClassVar[bool] = True

    size: Size | None = None
    scale: Range = [0.08, 1.0]
    ratio: Range = [3 / 4, 4 / 3]
    use_log_aspect: bool = False

    @property
    def follows_image_size(self) -> bool:
        """Whether it takes its size from `Global.image_size`."""
        return self.size is None

    def sized(self, height: int, width: int) -> RandCropImage:
        """Return the operation with this image size filled in."""
        return self if self.size else self.model_copy(update={"size": _size(height, width)})

    @model_validator(mode="after")
    def _ordered(self) -> RandCropImage:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be ordered and within (0, 1], not {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be ordered and positive, not {self.ratio}")
        return self

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a random part of the image, resized."""
        assert self.size is not None, "sized() comes first"
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


@TRANSFORMS.register
class RandFlipImage(Transform):
    """Flip with probability 0.5: left to right (1), top to bottom (0), or both (-1)."""

    random: ClassVar[bool] = True

    flip_code: Literal[1, 0, -1] = 1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, flipped or not."""
        if rng.random() >= 0.5:
            return image
        return each_band(lambda part: cv2.flip(part, self.flip_code), image)
