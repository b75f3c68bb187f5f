"""The base class of image transforms, and the types of their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import Field

from ppcls.data.image_bands import MAX_CHANNELS
from ppcls.errors import ConfigError
from ppcls.options import Fraction, OneKey
from ppcls.registry import Registry

__all__ = [
    "TRANSFORMS",
    "Channels",
    "Colour",
    "PerChannel",
    "Pixels",
    "Probability",
    "Range",
    "Size",
    "Transform",
    "TransformOp",
    "each_band",
    "per_channel",
    "register_transform",
]

NumberT = TypeVar("NumberT", int, float)

Channels = Annotated[int, Field(gt=0, le=MAX_CHANNELS)]
Pixels = Annotated[int, Field(gt=0, le=16384)]
Size = Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
Range = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
Probability = Annotated[Fraction, Field(ge=0, le=1)]
PerChannel = Annotated[list[float], Field(min_length=1)]
"""A value for each channel (see `per_channel`)."""
Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1)]
"""A value of 0 to 255 for each channel: red, green and blue."""


class Transform(OneKey):
    """An image operation, with the options it takes.

    Attributes:
        random: whether it draws random numbers, which is for training only.
        after_normalize: whether it may follow `NormalizeImage`, on float images.
        needs_colour: whether it needs RGB. It sees gray images as RGB, and no others.
    """

    random: ClassVar[bool] = False
    after_normalize: ClassVar[bool] = False
    needs_colour: ClassVar[bool] = False

    @property
    def follows_image_size(self) -> bool:
        """Whether it takes its size from `Global.image_size`."""
        return False

    def sized(self, height: int, width: int) -> Transform:
        """Return the operation with this image size filled in, if it follows the image size."""
        return self

    def for_channels(self, channels: int) -> Transform:
        """Return the operation with its values for this number of channels.

        Raises:
            ConfigError: it has the wrong number of values, or needs RGB.
        """
        if self.needs_colour and channels not in (1, 3):
            raise ConfigError(
                f"{type(self).__name__} needs RGB or gray images, not {channels} channels "
                "(Global.in_channels); leave it out"
            )
        return self

    def check_place(self, normalized: bool) -> None:
        """Raise a ConfigError if its options fit only on the other side of `NormalizeImage`."""

    def __call__(self, image: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the transformed image; the given one stays unchanged."""
        raise NotImplementedError


def per_channel(key: str, values: Sequence[NumberT], channels: int) -> list[NumberT]:
    """Return an option's values, one for each channel.

    A single value is for all channels. Three values are of RGB: on images of another number of
    channels, each gets their average, so that lists of transforms for RGB remain usable.

    Raises:
        ConfigError: another number of values; the message begins with `key`.
    """
    if len(values) == channels:
        return list(values)
    if len(values) == 1:
        return list(values) * channels
    if len(values) == 3:
        mean = sum(values) / 3
        return [round(mean) if isinstance(values[0], int) else round(mean, 6)] * channels
    raise ConfigError(
        f"{key} has {len(values)} values, expected {channels}, one for each channel "
        "(Global.in_channels), or a single one"
    )


def each_band(function: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Apply a function of RGB or gray images to an image of any number of channels.

    Args:
        function: maps an RGB image (H, W, 3), or one channel (H, W), to a new one.
        image: uint8 (H, W, C). OpenCV and Pillow take one, three or four channels at a time, and
            Pillow would take a fourth one for alpha.
    """
    if image.shape[2] == 3:
        return function(image)
    bands = (np.ascontiguousarray(image[..., i]) for i in range(image.shape[2]))
    return np.dstack([function(band) for band in bands])


TRANSFORMS = Registry("transform", Transform, required=("__call__",))
register_transform = TRANSFORMS.register
TransformOp = Annotated[Any, TRANSFORMS]
"""The annotation of one entry of `transform_ops`."""
