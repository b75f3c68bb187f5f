"""Lists of transforms for training, evaluation, bundles and predictors.

A configuration's `transform_ops` is a list of transforms. The same list runs in evaluation, goes
into the exported bundle, and runs in the predictor. Images are uint8 (H, W, C); three channels are
RGB, one is gray.
`NormalizeImage` and `ToCHWImage` end a list; they become one affine map per channel, which applies
to a whole batch (`Pipeline.affine`). In some published lists, augmentations that hide parts of an
image follow `NormalizeImage`. Then it runs at its place, and later images are float32.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from ppcls.data.image_bands import as_rgb, to_gray
from ppcls.data.transforms.base import Transform, TransformOp
from ppcls.data.transforms.normalize import NormalizeImage, ToCHWImage, no_change
from ppcls.data.transforms.resize_crop import DecodeImage
from ppcls.errors import ConfigError, ImageError
from ppcls.registry import is_own

__all__ = ["Pipeline", "TransformList", "refuse_random"]

_ROUNDING = 1e-5


def _checked(op: Transform, image: Any, channels: int) -> np.ndarray:
    """Return the image that a transform of a user's returns, (H, W, channels).

    Raises:
        ConfigError: it is not a uint8 array of this shape, or (H, W) for one channel.
    """
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.ndim == 2 and channels == 1:
            return image[..., None]
        if image.shape[2:] == (channels,):
            return image
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else repr(type(image))
    raise ConfigError(
        f"transform {type(op).__name__} returned {found}; expected uint8 (H, W, {channels})"
    )


def _split(
    ops: Sequence[Any],
) -> tuple[list[Transform], NormalizeImage | None, list[Transform]]:
    """Return the operations on pixels, the normalisation, and those on normalised images.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, or an operation cannot work at its
            place.
    """
    if not ops or not isinstance(ops[0], DecodeImage):
        raise ConfigError("transform_ops must begin with DecodeImage")
    image_ops: list[Transform] = []
    float_ops: list[Transform] = []
    normalize: NormalizeImage | None = None
    last: Transform | None = None
    for op in ops:
        name = type(op).__name__
        if isinstance(op, (NormalizeImage, ToCHWImage)):
            if any(other is not op and type(other) is type(op) for other in ops):
                raise ConfigError(f"transform_ops: duplicate {name}")
            last = op
            if isinstance(op, NormalizeImage):
                normalize = op
        elif last and not op.after_normalize:
            raise ConfigError(
                f"transform_ops: {name} cannot follow {type(last).__name__}; NormalizeImage "
                "and ToCHWImage must come last; only operations that hide parts may follow"
            )
        else:
            op.check_place(normalized=normalize is not None)
            (float_ops if normalize else image_ops).append(op)
    return image_ops, normalize, float_ops


class Pipeline:
    """A list of transforms, split into operations on one image and on a batch.

    Args:
        ops: transforms as in a configuration: `DecodeImage` first, then image operations, then
            optionally `NormalizeImage` and `ToCHWImage`, then operations that hide parts.
        image_size: (height, width) for operations that set no size.
        channels: those of the images; None takes `DecodeImage.channels`, or else 3.

    Attributes:
        ops: the transforms, with sizes and channels filled in.
        channels: the channels of the images.
        image_ops: the operations on uint8 images.
        normalize_op: `NormalizeImage`, if the list has it.
        float_ops: the operations on normalised images.
        affine: the map that a batch still needs: `NormalizeImage`, unless `float_ops` follow it.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, an operation cannot work at its
            place or on these channels, or it needs a size and none is given.
    """

    def __init__(
        self,
        ops: Sequence[Any],
        image_size: tuple[int, int] | None = None,
        channels: int | None = None,
    ):
        _split(ops)
        unsized = [type(op).__name__ for op in ops if op.follows_image_size]
        if image_size is None and unsized:
            raise ConfigError(f"transform_ops: {unsized[0]} needs a size here")
        self.channels = channels or ops[0].channels or 3
        fitted = [op.for_channels(self.channels) for op in ops]
        self.ops = [op.sized(*image_size) if image_size else op for op in fitted]
        self.image_ops, self.normalize_op, self.float_ops = _split(self.ops)
        folded = self.normalize_op if not self.float_ops else None
        self.affine = folded.affine if folded else no_change(self.channels)

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image (H, W, channels): uint8, or float32 with `float_ops`.

        Raises:
            ImageError: the image cannot be read, or is too long and narrow to be resized.
        """
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else None
        for op in self.image_ops:
            as_colour = op.needs_colour and self.channels == 1
            try:
                source = op(as_rgb(source) if as_colour else source, rng)
            except ImageError as error:
                if error.source is None and name is not None:
                    raise ImageError(error.reason, name, error.recognised) from None
                raise
            if not is_own(type(op)):
                source = _checked(op, source, 3 if as_colour else self.channels)
            if as_colour:
                source = to_gray(source)
        if self.normalize_op and self.float_ops:
            scale, bias = self.normalize_op.affine
            if self.channels == 3:
                values = np.arange(256, dtype=np.float32)[:, None] * scale + bias
                source = cv2.LUT(source, values[None])
            else:
                source = source * scale + bias
            for op in self.float_ops:
                source = op(source, rng)
        return source

    def gives_same(self, other: Pipeline) -> bool:
        """Whether another list of transforms gives the same normalised images.

        Published files round 1/255 to 0.00392157, which moves no value by more than 1e-5.
        """
        black, white = np.float32(0), np.float32(255)
        return self.image_ops == other.image_ops and all(
            np.allclose(
                self.affine.scale * value + self.affine.bias,
                other.affine.scale * value + other.affine.bias,
                rtol=0,
                atol=_ROUNDING,
            )
            for value in (black, white)
        )

    def output_shape(self, height: int, width: int) -> list[int]:
        """Return the output shape [C, H, W] for an image of this height and width."""
        zeros = np.zeros((height, width, self.channels), np.uint8)
        image = self(zeros, np.random.default_rng(0))
        return [image.shape[2], *image.shape[:2]]

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Map transformed images (N, H, W, C) to the model's input, float32 (N, C, H, W)."""
        batch = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        batch *= self.affine.scale[:, None, None]
        batch += self.affine.bias[:, None, None]
        return batch

    def to_pixels(self, images: np.ndarray) -> np.ndarray:
        """Map model inputs (N, C, H, W), such as mixed ones, back to visible uint8 (N, H, W, C)."""
        scale, bias = self.normalize_op.affine if self.normalize_op else no_change(self.channels)
        pixels = (images.transpose(0, 2, 3, 1) - bias) / scale
        return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def _check_order(ops: list) -> list:
    try:
        _split(ops)
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("transform_ops: ")) from None
    return ops


TransformList = Annotated[list[TransformOp], Field(min_length=1), AfterValidator(_check_order)]
"""The annotation of `transform_ops`: operations that can follow one another."""


def refuse_random(ops: Sequence[Transform], section: str) -> None:
    """Raise a ValueError if one of the operations draws random numbers."""
    drawn = [type(op).__name__ for op in ops if op.random]
    if drawn:
        raise ValueError(f"{drawn[0]} is random, which is for training only, not {section}")
