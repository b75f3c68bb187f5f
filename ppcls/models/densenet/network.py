"""DenseNet: densely connected convolutional networks (https://arxiv.org/abs/1608.06993).

Within a block every layer reads the concatenation of all maps before it and adds `growth` channels
to it; transitions between blocks halve channels and resolution (DenseNet-BC). Attribute names are
those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import BNReLUConv, ConvBN, uniform_linear
from ppcls.models.registry import register_architecture

__all__ = [
    "DenseNet",
    "DenseNet121",
    "DenseNet161",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
]


class DenseLayer(nn.Layer):
    """1x1 to a bottleneck of `4 * growth` channels, then 3x3 to `growth`, appended to the input."""

    def __init__(self, in_channels: int, growth: int):
        super().__init__()
        self.bn_ac_func1 = BNReLUConv(in_channels, 4 * growth, 1)
        self.bn_ac_func2 = BNReLUConv(4 * growth, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        return paddle.concat([x, self.bn_ac_func2(self.bn_ac_func1(x))], axis=1)


class Transition(nn.Layer):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv_ac_func = BNReLUConv(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv_ac_func(x), kernel_size=2, stride=2)


class DenseNet(ImageClassifier):
    """DenseNet.

    Args:
        depth: number of layers of each block.
        growth: channels that a layer adds.
        stem: channels of the stem convolution.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "conv1_func._conv"
    checkpointed = DenseLayer
    head = "out"

    def __init__(
        self,
        *,
        depth: tuple[int, ...],
        growth: int = 32,
        stem: int = 64,
        class_num: int = 1000,
        in_channels: int = 3,
    ):
        super().__init__()
        self.conv1_func = ConvBN(in_channels, stem, 7, stride=2)
        self.feature_info = [FeatureInfo(stem, 2)]
        # The checkpoints count the stages from 2; the stem is the first.
        self._stages: list[tuple[str, str]] = []
        width = stem
        for i, layers in enumerate(depth, start=2):
            if not self._stages:
                downsample = "pool2d_max"
                self.add_sublayer(downsample, nn.MaxPool2D(3, 2, 1))
            else:
                downsample = f"tr_conv{i - 1}_blk"
                self.add_sublayer(downsample, Transition(width, width // 2))
                width //= 2
            block = nn.Sequential()
            for j in range(1, layers + 1):
                block.add_sublayer(f"conv{i}_{j}", DenseLayer(width, growth))
                width += growth
            self.add_sublayer(f"db_conv_{i}", block)
            self._stages.append((downsample, f"db_conv_{i}"))
            self.feature_info.append(FeatureInfo(width, 2**i))
        self.batch_norm = nn.BatchNorm2D(width)
        self.out = uniform_linear(width, class_num)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        features = [self.conv1_func(x)]
        for downsample, block in self._stages:
            x = getattr(self, downsample)(features[-1])
            features.append(getattr(self, block)(x))
        features[-1] = F.relu(self.batch_norm(features[-1]))
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


@register_architecture
def DenseNet121(**kwargs: Any) -> DenseNet:
    return DenseNet(depth=(6, 12, 24, 16), **kwargs)


@register_architecture
def DenseNet161(**kwargs: Any) -> DenseNet:
    return DenseNet(depth=(6, 12, 36, 24), growth=48, stem=96, **kwargs)


@register_architecture
def DenseNet169(**kwargs: Any) -> DenseNet:
    return DenseNet(depth=(6, 12, 32, 32), **kwargs)


@register_architecture
def DenseNet201(**kwargs: Any) -> DenseNet:
    return DenseNet(depth=(6, 12, 48, 32), **kwargs)


@register_architecture
def DenseNet264(**kwargs: Any) -> DenseNet:
    return DenseNet(depth=(6, 12, 64, 48), **kwargs)
