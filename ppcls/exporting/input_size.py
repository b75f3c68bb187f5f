"""Scaling of transforms to another image size, in the same proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError

__all__ = ["at_size", "resized"]

# The networks reduce this side to one pixel. With less, some return NaN or never return.
_LEAST_SIDE = 32


def at_size(
    pipeline: Pipeline, shape: Sequence[int], size: int | tuple[int, int]
) -> tuple[Pipeline, list[int]]:
    """Return transforms for images of another size, and the shape (C, H, W) that they give.

    Args:
        pipeline: transforms that give images of the shape.
        shape: (C, H, W).
        size: side, or (height, width).

    Raises:
        ConfigError: a side is too small.
    """
    new = (size, size) if isinstance(size, int) else size
    if len(new) != 2 or min(new) < _LEAST_SIDE:
        raise ConfigError(
            f"the input size is a side or (height, width) of at least {_LEAST_SIDE} pixels, "
            f"not {size}"
        )
    channels, height, width = shape
    return Pipeline(resized(pipeline.ops, (height, width), new)), [channels, *new]


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
