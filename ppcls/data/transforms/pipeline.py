"""Lists of transforms, as evaluation, training, bundles and predictors run them.

A configuration's `transform_ops` is a list of transforms. The same list runs in evaluation, is
written into an exported bundle and runs in the predictor. Images are uint8 (H, W, 3) RGB:
`NormalizeImage` and `ToCHWImage` end a list and are folded into one affine map per channel, applied
to a whole batch (`Pipeline.affine`). Only where augmentations that hide parts of an image follow
`NormalizeImage`, as in some published lists, is it applied in its place, and images are float32
from there on.
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

__all__ = ["Pipeline", "TransformList", "refuse_random"]


class Pipeline:
    """A list of transforms, split into what works on one image and what works on a batch.

    Args:
        ops: transforms as in a configuration: `DecodeImage` first, then image operations, then
            optionally `NormalizeImage` and `ToCHWImage`, then what hides parts of images.
        image_size: (height, width) of the images of those that name no size themselves.

    Attributes:
        ops: the transforms, each with a size.
        image_ops: the operations on uint8 images.
        normalize_op: `NormalizeImage`, where the list has it.
        float_ops: the operations on normalised images.
        affine: what is left to do with a batch: `NormalizeImage`, unless `float_ops` need it done.

    Raises:
        ConfigError: the list does not begin with `DecodeImage`, an operation is in a place where it
            cannot work, or names no size where none is given.
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


def _check_order(ops: list) -> list:
    try:
        Pipeline(ops, image_size=(224, 224))  # any will do to see whether they fit together
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("transform_ops: ")) from None
    return ops


TransformList = Annotated[list[TransformOp], Field(min_length=1), AfterValidator(_check_order)]
"""The annotation of `transform_ops`: operations that can follow one another."""


def refuse_random(ops: Sequence[Transform], section: str) -> None:
    """Raise a ValueError if one of the operations draws random numbers."""
    drawn = [type(op).__name__ for op in ops if op.random]
    if drawn:
        raise ValueError(f"{drawn[0]} is random, which only training may be, not {section}")
