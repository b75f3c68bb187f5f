"""Layers that several families share."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.tensor.layer_function_generator import generate_activation_fn

__all__ = [
    "BNReLUConv",
    "ConvBN",
    "conv2d",
    "squeeze_excite",
    "uniform_linear",
]

# The operator behind F.sigmoid. No public name can be traced into the older export format
# (.pdmodel): Paddle 3.3 binds F.sigmoid, nn.Sigmoid, paddle.exp and paddle.tanh to the newer format
# only.
sigmoid = generate_activation_fn("sigmoid")


def conv2d(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2D:
    """Return a convolution without bias; at stride 1, its padding keeps the map's size."""
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias_attr=False,
    )


class ConvBN(nn.Layer):
    """Convolution, batch normalisation, and ReLU unless `relu` is false."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ):
        super().__init__()
        self._conv = conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups)
        self._batch_norm = nn.BatchNorm2D(out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self._batch_norm(self._conv(x))
        return F.relu(x) if self.relu else x


class BNReLUConv(nn.Layer):
    """The same three layers in reverse order, for pre-activation networks."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
    ):
        super().__init__()
        self._batch_norm = nn.BatchNorm2D(in_channels)
        self._conv = conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv(F.relu(self._batch_norm(x)))


def uniform_linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer with uniform weights within 1 / sqrt(in_features) and zero bias."""
    bound = in_features**-0.5
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Uniform(-bound, bound))


def squeeze_excite(x: Tensor, squeeze: nn.Linear, excitation: nn.Linear) -> Tensor:
    """Scale each channel of a float map (N, C, H, W) by a gate, computed from all channel means."""
    gates = F.adaptive_avg_pool2d(x, 1).flatten(1)
    gates = sigmoid(excitation(F.relu(squeeze(gates))))
    return x * gates.unsqueeze([2, 3])
