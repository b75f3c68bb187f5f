"""The images that an export is proven on, and the transforms that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppcls.config import Config
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError, ImageError

__all__ = ["Images", "random_images", "real_images", "resized"]

_REAL, _RANDOM = 64, 8


@dataclass(frozen=True)
class Images:
    """Transformed images, uint8 (N, H, W, 3), with what to call each of them."""

    pixels: np.ndarray
    names: list[str]


def resized(ops: Sequence[Any], old: tuple[int, int], new: tuple[int, int]) -> list[Any]:
    """Return transforms that give images of another size, in the same proportions.

    Args:
        ops: transforms that give images of the size `old`.
        old, new: (height, width).
    """
    down, across = new[0] / old[0], new[1] / old[1]

    def scaled(op: Any) -> Any:
        update: dict[str, Any] = {}
        if getattr(op, "resize_short", None):
            update["resize_short"] = round(op.resize_short * max(down, across))
        for key in ("size", "cover"):
            size = getattr(op, key, None)
            if size:
                width, height = (size, size) if isinstance(size, int) else size
                width, height = round(width * across), round(height * down)
                update[key] = width if width == height else [width, height]
        return op.model_copy(update=update)

    return [scaled(op) for op in ops]


def real_images(
    config: Config, pipeline: Pipeline, shape: Sequence[int]
) -> tuple[Images, str] | None:
    """Return up to 64 images from all over the evaluation set, and what to call the set.

    None where the configuration has no evaluation set, or there is no such list or folder here.
    Images that cannot be read are left out where the evaluation goes on without them (`on_error`).

    Raises:
        DataError: the list, a label or an image is wrong.
        ConfigError: the transforms give one of them another shape, [channels, height, width].
    """
    data = config.DataLoader.Eval and config.DataLoader.Eval.dataset
    if not data or not Path(data.source).exists():
        return None
    samples = data.read(config.Arch.class_num)
    count = min(_REAL, len(samples))
    rng = np.random.default_rng(0)
    images, names = [], []
    for i in np.linspace(0, len(samples) - 1, count).astype(int):
        name = samples[i].path
        try:
            image = pipeline(name, rng)
        except ImageError:
            if data.on_error == "error":
                raise
            continue
        found = [image.shape[2], *image.shape[:2]]
        if found != list(shape):
            raise ConfigError(
                f"the transforms of evaluation make {name} {found}, others {list(shape)}: "
                "a CropImage or a ResizeImage.size gives all of them one size"
            )
        images.append(image)
        names.append(name)
    return (Images(np.stack(images), names), data.source) if images else None


def random_images(shape: Sequence[int]) -> Images:
    """Return 8 images of noise, of the shape [channels, height, width]."""
    channels, height, width = shape
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_RANDOM, height, width, channels), np.uint8)
    return Images(pixels, [f"random image {i}" for i in range(_RANDOM)])
