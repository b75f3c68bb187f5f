"""A configuration at another size of images, its transforms scaled with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppcls.config import Config
from ppcls.errors import ConfigError

__all__ = ["at_size", "resized"]

# What the networks bring down to one pixel. Of less, some answer with no number, or never.
_LEAST_SIDE = 32


def at_size(config: Config, size: int | tuple[int, int] | None) -> Config:
    """Return a configuration with its images and transforms at another size.

    Args:
        config: what to change.
        size: side, or (height, width); None changes nothing.

    Raises:
        ConfigError: a side is too small.
    """
    if size is None:
        return config
    new = (size, size) if isinstance(size, int) else size
    channels, *old = config.Global.image_shape
    if len(new) != 2 or min(new) < _LEAST_SIDE:
        raise ConfigError(
            f"the input size is a side or (height, width) of at least {_LEAST_SIDE} pixels, "
            f"not {size}"
        )

    def scaled(ops: Any) -> list[Any]:
        return resized(ops, (old[0], old[1]), new)

    update: dict[str, Any] = {
        "Global": config.Global.model_copy(update={"image_shape": [channels, *new]})
    }
    if config.Infer:
        transforms = scaled(config.Infer.transforms)
        update["Infer"] = config.Infer.model_copy(update={"transforms": transforms})
    if data := config.DataLoader.Eval:
        ops = scaled(data.dataset.transform_ops)
        dataset = data.dataset.model_copy(update={"transform_ops": ops})
        data = data.model_copy(update={"dataset": dataset})
        update["DataLoader"] = config.DataLoader.model_copy(update={"Eval": data})
    return config.model_copy(update=update)


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
        size = getattr(op, "size", None)
        if size:
            width, height = (size, size) if isinstance(size, int) else size
            width, height = round(width * across), round(height * down)
            update["size"] = width if width == height else [width, height]
        return op.model_copy(update=update)

    return [scaled(op) for op in ops]
