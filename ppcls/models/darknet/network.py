"""DarkNet-53, the backbone of YOLOv3 (https://arxiv.org/abs/1804.02767).

The published model has ReLU where the paper has leaky ReLU. Attribute names are those of the
published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import conv2d, uniform_linear
from ppcls.models.registry import register_architecture

__all__ = ["DarkNet", "DarkNet53"]


class ConvBNReLU(nn.Layer):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self._conv = conv2d(in_channels, out_channels, kernel_size, stride=stride)
        self._bn = nn.BatchNorm2D(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self._bn(self._conv(x)))


class ResidualBlock(nn.Layer):
    """1x1 to half the channels, then 3x3 back."""

    def __init__(self, channels: int):
        super().__init__()
        self._conv1 = ConvBNReLU(channels, channels // 2, 1)
        self._conv2 = ConvBNReLU(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self._conv2(self._conv1(x))


class DarkNet(ImageClassifier):
    """DarkNet: stages of residual blocks, each of which begins with a strided convolution.

    Args:
        depth: number of residual blocks of each stage.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "_conv1._conv"
    head = "_out"

    def __init__(self, *, depth: tuple[int, ...], class_num: int = 1000, in_channels: int = 3):
        super().__init__()
        width = 32
        self._conv1 = ConvBNReLU(in_channels, width, 3)
        self.feature_info = []
        # The checkpoints keep every layer at the top level, so a stage is a list of layer names.
        self._stages: list[list[str]] = []
        for i, blocks in enumerate(depth):
            downsample = "_conv2" if i == 0 else f"_downsample_{i - 1}"
            self.add_sublayer(downsample, ConvBNReLU(width, 2 * width, 3, stride=2))
            width *= 2
            names = [f"_basic_block_{i}{j}" for j in range(1, blocks + 1)]
            for name in names:
                self.add_sublayer(name, ResidualBlock(width))
            self._stages.append([downsample, *names])
            self.feature_info.append(FeatureInfo(width, 2 ** (i + 1)))
        self._out = uniform_linear(width, class_num)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        x = self._conv1(x)
        features = []
        for stage in self._stages:
            for name in stage:
                x = getattr(self, name)(x)
            features.append(x)
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        return self._out(F.adaptive_avg_pool2d(x, 1).flatten(1))


@register_architecture
def DarkNet53(**kwargs: Any) -> DarkNet:
    return DarkNet(depth=(1, 2, 8, 8, 4), **kwargs)
