"""Lists of transforms for training, evaluation, bundles and predictors.

A configuration's `transform_ops` is a list of transforms. The same list runs in evaluation, goes
into the exported bundle, and runs in the predictor. Images are uint8 (H, W, 3) RGB.
`NormalizeImage` and `ToCHWImage` end a list; they become one affine map per channel, which applies
to a whole batch (`Pipeline.affine`). In some published lists, augmentations that hide parts of an
image follow `NormalizeImage`. Then it runs at its place, and later images are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from ppcls.data.transforms.base import Transform, TransformOp
from ppcls.data.transforms.normalize import NO_CHANGE, NormalizeImage, ToCHWImage
from ppcls.data.transforms.resize_crop import DecodeImage
from ppcls.errors import ConfigError
from ppcls.registry import is_own

__all__ = ["Pipeline", "TransformList", "refuse_random"]

_ROUNDING = 1e-5


def _check_image(op: Transform, image: Any) -> None:
    """Refuse what a transform of a user's returns, if it is no image.

    Raises:
        ConfigError: it is not a uint8 array (H, W, 3).
    """
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,):
        return
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else repr(type(image))
    raise ConfigError(f"transform {type(op).__name__} returned {found}; expected uint8 (H, W, 3)")


class Pipeline:
    """A list of transforms, split into operations on one image and on a batch.

    Args:
        ops: transforms as in a configuration: `DecodeImage` first, then image operations, then
            optionally `NormalizeImage` and `ToCHWImage`, then operations that hide parts.
        image_size: (height, width) for operations that set no size.

    Attributes:
        ops: the transforms, with sizes filled in.
        image_ops: the operations on uint8 images.
        normalize_op: `NormalizeImage`, if the list has it.
        float_ops: the operations on normalised images.
        affine: the map that a batch still needs: `NormalizeImage`, unless `float_ops` follow it.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, an operation cannot work at its
            place, or it needs a size and none is given.
    """

    def __init__(self, ops: Sequence[Any], image_size: tuple[int, int] | None = None):
        if not ops or not isinstance(ops[0], DecodeImage):
            raise ConfigError("transform_ops must begin with DecodeImage")
        unsized = [type(op).__name__ for op in ops if op.follows_image_size]
        if image_size is None and unsized:
            raise ConfigError(f"transform_ops: {unsized[0]} needs a size here")
        self.ops = [op.sized(*image_size) if image_size else op for op in ops]
        self.image_ops: list[Transform] = []
        self.float_ops: list[Transform] = []
        self.normalize_op: NormalizeImage | None = None
        last: Transform | None = None
        for op in self.ops:
            name = type(op).__name__
            if isinstance(op, (NormalizeImage, ToCHWImage)):
                if any(other is not op and type(other) is type(op) for other in self.ops):
                    raise ConfigError(f"transform_ops: duplicate {name}")
                last = op
                if isinstance(op, NormalizeImage):
                    self.normalize_op = op
            elif last and not op.after_normalize:
                raise ConfigError(
                    f"transform_ops: {name} cannot follow {type(last).__name__}; NormalizeImage "
                    "and ToCHWImage must come last; only operations that hide parts may follow"
                )
            else:
                op.check_place(normalized=self.normalize_op is not None)
                (self.float_ops if self.normalize_op else self.image_ops).append(op)
        folded = self.normalize_op if not self.float_ops else None
        self.affine = folded.affine if folded else NO_CHANGE

    def __call__(self, source: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image (H, W, 3): uint8, or float32 with `float_ops`."""
        for op in self.image_ops:
            source = op(source, rng)
            if not is_own(type(op)):
                _check_image(op, source)
        if self.normalize_op and self.float_ops:
            scale, bias = self.normalize_op.affine
            values = np.arange(256, dtype=np.float32)[:, None] * scale + bias
            source = cv2.LUT(source, values[None])
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
        image = self(np.zeros((height, width, 3), np.uint8), np.random.default_rng(0))
        return [image.shape[2], *image.shape[:2]]

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """Map transformed images (N, H, W, 3) to the model's input, float32 (N, 3, H, W)."""
        batch = images.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        batch *= self.affine.scale[:, None, None]
        batch += self.affine.bias[:, None, None]
        return batch

    def to_pixels(self, images: np.ndarray) -> np.ndarray:
        """Map model inputs (N, 3, H, W), such as mixed ones, back to visible uint8 (N, H, W, 3)."""
        scale, bias = self.normalize_op.affine if self.normalize_op else NO_CHANGE
        pixels = (images.transpose(0, 2, 3, 1) - bias) / scale
        return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def _check_order(ops: list) -> list:
    try:
        Pipeline(ops, image_size=(224, 224))  # any size can check the order
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
