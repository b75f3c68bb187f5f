"""SENet-154: squeeze-and-excitation networks (https://arxiv.org/abs/1709.01507).

A ResNeXt whose blocks weight their channels by global image context. The `vd` variant takes two
changes from ResNet-D (https://arxiv.org/abs/1812.01187): a stem of three 3x3 convolutions, and
shortcuts that average before they project. Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import ConvBN, squeeze_excite, uniform_linear
from ppcls.models.registry import register_architecture

__all__ = ["SENet", "SENet154_vd"]


class SqueezeExcitation(nn.Layer):
    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.squeeze = uniform_linear(channels, channels // reduction)
        self.excitation = uniform_linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excite(x, self.squeeze, self.excitation)


class Bottleneck(nn.Layer):
    def __init__(self, in_channels: int, out_channels: int, groups: int, stride: int):
        super().__init__()
        self.conv0 = ConvBN(in_channels, out_channels, 1)
        self.conv1 = ConvBN(out_channels, out_channels, 3, stride=stride, groups=groups)
        self.conv2 = ConvBN(out_channels, out_channels, 1, relu=False)
        self.scale = SqueezeExcitation(out_channels)
        self.pool = nn.AvgPool2D(2, stride=2, ceil_mode=True) if stride > 1 else None
        self.short = None
        if in_channels != out_channels:
            self.short = ConvBN(in_channels, out_channels, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.pool is None else self.pool(x)
        if self.short is not None:
            shortcut = self.short(shortcut)
        return F.relu(shortcut + self.scale(self.conv2(self.conv1(self.conv0(x)))))


class SENet(ImageClassifier):
    """SENet in its `vd` form.

    Args:
        depths: number of blocks of each stage.
        widths: channels of each stage.
        groups: groups of the 3x3 convolutions of the blocks.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "conv1_1._conv"
    head = "out"

    def __init__(
        self,
        *,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        groups: int,
        class_num: int = 1000,
        in_channels: int = 3,
    ):
        super().__init__()
        self.conv1_1 = ConvBN(in_channels, 64, 3, stride=2)
        self.conv1_2 = ConvBN(64, 64, 3)
        self.conv1_3 = ConvBN(64, 128, 3)
        self.pool = nn.MaxPool2D(3, stride=2, padding=1)
        channels = 128
        self.feature_info = [FeatureInfo(channels, 2)]
        self._stages: list[list[str]] = []
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            self._stages.append([f"bb_{stage}_{i}" for i in range(depth)])
            for i, name in enumerate(self._stages[-1]):
                stride = 2 if i == 0 and stage > 0 else 1
                self.add_sublayer(name, Bottleneck(channels, width, groups, stride))
                channels = width
            self.feature_info.append(FeatureInfo(channels, 4 * 2**stage))
        self.out = uniform_linear(channels, class_num)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        features = [self.conv1_3(self.conv1_2(self.conv1_1(x)))]
        x = self.pool(features[0])
        for names in self._stages:
            for name in names:
                x = getattr(self, name)(x)
            features.append(x)
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


@register_architecture
def SENet154_vd(**kwargs: Any) -> SENet:
    return SENet(depths=(3, 8, 36, 3), widths=(256, 512, 1024, 2048), groups=64, **kwargs)
