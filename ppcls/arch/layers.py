"""What the model families share: the classifier's frame, and a few layers."""

from __future__ import annotations

from typing import NamedTuple

import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.tensor.layer_function_generator import generate_activation_fn

__all__ = [
    "BNReLUConv",
    "ConvBN",
    "FeatureInfo",
    "ImageClassifier",
    "conv2d",
    "squeeze_excite",
    "uniform_linear",
]

# No public spelling can be traced into the older export format (.pdmodel): Paddle 3.3 binds
# F.sigmoid, nn.Sigmoid, paddle.exp and paddle.tanh to the newer one alone. This is the operator of
# F.sigmoid.
_sigmoid = generate_activation_fn("sigmoid")


class FeatureInfo(NamedTuple):
    """One feature map: its channels, and how many input pixels one of its pixels spans."""

    channels: int
    stride: int


class ImageClassifier(nn.Layer):
    """A model that computes feature maps by stage and a classification from the last one.

    A family implements `forward_features` and `forward_head`, and sets:

    Attributes:
        name: the architecture, as `create_model` was asked for it.
        feature_info: one entry for each map that `forward_features` returns.
        head: name of the layer, as in state_dict keys, whose outputs are the classes.
        first_conv: name of the convolution that reads the image.
        checkpointed: the class of the blocks whose maps are worth computing again rather than
            keeping (`Arch.grad_checkpointing`); None for none.
        features_only: whether calling the model gives the feature maps instead of logits. The
            layers after them stay, unused, so that the same weights load either way.
    """

    name: str
    feature_info: list[FeatureInfo]
    head: str
    first_conv: str
    checkpointed: type[nn.Layer] | None = None
    features_only: bool = False

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Map float32 images (N, C, H, W) to the maps described by `feature_info`, in order."""
        raise NotImplementedError

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last feature map to float32 logits (N, class_num)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map images (N, C, H, W), float32, to logits (N, class_num), float32.

        With `features_only`: to the list of feature maps described by `feature_info`.
        """
        features = self.forward_features(x)
        return features if self.features_only else self.forward_head(features[-1])


def conv2d(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
) -> nn.Conv2D:
    """Return a convolution without bias, padded so that stride 1 keeps the size of the map."""
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
    """The same three the other way round: what pre-activation networks are made of."""

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
    """Return a linear layer that starts uniform within 1 / sqrt(in_features), its bias at zero."""
    bound = in_features**-0.5
    return nn.Linear(in_features, out_features, weight_attr=nn.initializer.Uniform(-bound, bound))


def squeeze_excite(x: Tensor, squeeze: nn.Linear, excitation: nn.Linear) -> Tensor:
    """Scale every channel of a float map (N, C, H, W) by a gate, computed from all their means."""
    gates = F.adaptive_avg_pool2d(x, 1).flatten(1)
    gates = _sigmoid(excitation(F.relu(squeeze(gates))))
    return x * gates.unsqueeze([2, 3])
