"""The measured cost of a model: parameters and multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import paddle
from paddle import nn

from ppcls.errors import ConfigError
from ppcls.models.catalogue import model_card
from ppcls.spelling import names_options

__all__ = ["Cost", "profile"]


_COUNTED = (
    nn.Linear,
    nn.Conv1D,
    nn.Conv2D,
    nn.Conv3D,
    nn.Conv1DTranspose,
    nn.Conv2DTranspose,
    nn.Conv3DTranspose,
)


class Cost(NamedTuple):
    """Number of trainable parameters, and multiply-accumulates for one image."""

    params: int
    macs: int


def _in_channels(model: nn.Layer) -> int:
    """Return the channels that a model of ppcls takes; 3 for others."""
    name = getattr(model, "first_conv", "")
    stem = dict(model.named_parameters()).get(f"{name}.weight")
    return 3 if stem is None else stem.shape[1]


@names_options
def profile(model: nn.Layer, input_size: int | Sequence[int] = 224) -> Cost:
    """Count a model's trainable parameters and the multiply-accumulates of one forward pass.

    As in papers, only convolutions (also transposed ones) and linear layers count, without biases.
    The model runs once on zeros, in evaluation mode.

    Args:
        model: any Paddle layer that takes one image tensor.
        input_size: side in pixels of a square image, of as many channels as a model of ppcls takes
            and three for others, or (C, H, W).

    Raises:
        ConfigError: not a model, or not a valid size.
    """
    if not isinstance(model, nn.Layer):
        how = ""
        if isinstance(model, str):
            how = f": profile(create_model({model_card(model).name!r}))"
        raise ConfigError(f"profile takes a model, not {model!r}{how}")
    if isinstance(input_size, int):
        shape = [_in_channels(model), input_size, input_size]
    else:
        shape = list(input_size)
    if len(shape) != 3 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ConfigError(f"profile: input_size is a side or (C, H, W), not {input_size!r}")
    macs = 0

    def count(layer: nn.Layer, inputs: tuple, output: paddle.Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Linear):
            macs += math.prod(inputs[0].shape) * layer.weight.shape[1]
            return
        # Each output pixel (in a transposed convolution, each input pixel) meets each weight of its
        # kernel: [out, in / groups, kh, kw], transposed [in, out / groups, kh, kw].
        transposed = "Transpose" in type(layer).__name__
        pixels = (inputs[0] if transposed else output).shape[2:]
        macs += math.prod(pixels) * math.prod(layer.weight.shape)

    hooks = [
        layer.register_forward_post_hook(count)  # type: ignore[arg-type]  # Paddle's own is narrow
        for layer in model.sublayers(include_self=True)
        if isinstance(layer, _COUNTED)
    ]
    was_training = model.training
    model.eval()
    dtype = next((p.dtype for p in model.parameters()), None)
    try:
        with paddle.no_grad():
            model(paddle.zeros([1, *shape], dtype))
    finally:
        for hook in hooks:
            hook.remove()
        if was_training:
            model.train()
    params = sum(int(p.size) for p in model.parameters() if not p.stop_gradient)
    return Cost(params, macs)
