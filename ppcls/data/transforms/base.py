"""The base class of image transforms, and the types of their options."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ppcls.options import Fraction, OneKey
from ppcls.registry import Registry

__all__ = [
    "TRANSFORMS",
    "Colour",
    "Pixels",
    "Probability",
    "Range",
    "Size",
    "Transform",
    "TransformOp",
    "register_transform",
]

Pixels = Annotated[int, Field(gt=0, le=16384)]
Size = Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
Range = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
Probability = Annotated[Fraction, Field(ge=0, le=1)]
Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]
"""Red, green and blue, 0 to 255."""


class Transform(OneKey):
    """An image operation, with the options it takes.

    Attributes:
        random: whether it draws random numbers, which is for training only.
        after_normalize: whether it may follow `NormalizeImage`, on float images.
    """

    random: ClassVar[bool] = False
    after_normalize: ClassVar[bool] = False

    @property
    def follows_image_size(self) -> bool:
        """Whether it takes its size from `Global.image_size`."""
        return False

    def sized(self, height: int, width: int) -> Transform:
        """Return the operation with this image size filled in, if it follows the image size."""
        return self

    def check_place(self, normalized: bool) -> None:
        """Raise a ConfigError if its options fit only on the other side of `NormalizeImage`."""

    def __call__(self, image: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image; the given one stays unchanged."""
        raise NotImplementedError


TRANSFORMS = Registry("transform", Transform, required=("__call__",))
register_transform = TRANSFORMS.register
TransformOp = Annotated[Any, TRANSFORMS]
"""The annotation of one entry of `transform_ops`."""
