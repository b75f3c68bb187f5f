"""Dual path networks (https://arxiv.org/abs/1707.01629).

A dual path block adds one part of its output to the residual path, as ResNeXt does, and appends
the other to the dense path, as DenseNet does. The two paths travel as one tensor: the residual
channels first, then the dense ones. Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import BNReLUConv, ConvBN
from ppcls.models.registry import register_architecture

__all__ = ["DPN", "DPN68", "DPN92", "DPN98", "DPN107", "DPN131"]


class DualPathBlock(nn.Layer):
    """Refine the `residual` channels of the residual path and append `growth` to the dense path.

    The first block of a stage projects its input to the stage's residual path and to a dense path
    of `2 * growth` channels.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int,
        residual: int,
        growth: int,
        groups: int,
        stride: int,
        project: bool,
    ):
        super().__init__()
        self.residual = residual
        self.c1x1_w_func = None
        self.out_channels = in_channels + growth
        if project:
            self.c1x1_w_func = BNReLUConv(in_channels, residual + 2 * growth, stride=stride)
            self.out_channels = residual + 3 * growth
        self.c1x1_a_func = BNReLUConv(in_channels, width)
        self.c3x3_b_func = BNReLUConv(width, width, 3, stride=stride, groups=groups)
        self.c1x1_c_func = BNReLUConv(width, residual + growth)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.c1x1_w_func is None else self.c1x1_w_func(x)
        residual, dense = paddle.split(shortcut, [self.residual, -1], axis=1)
        y = self.c1x1_c_func(self.c3x3_b_func(self.c1x1_a_func(x)))
        refinement, new = paddle.split(y, [self.residual, -1], axis=1)
        return paddle.concat([residual + refinement, dense, new], axis=1)


class DPN(ImageClassifier):
    """Dual path network.

    Args:
        stem: channels of the stem convolution.
        stem_kernel: its kernel size.
        width: bottleneck width of the first stage; every further stage doubles it.
        groups: groups of the 3x3 convolutions.
        residual: channels of the residual path in the first stage; every further stage doubles it.
        growth: channels that each block of a stage appends to the dense path.
        depths: number of blocks of each stage.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "conv1_x_1_func._conv"
    checkpointed = DualPathBlock
    head = "out"

    def __init__(
        self,
        *,
        stem: int,
        stem_kernel: int = 7,
        width: int,
        groups: int,
        residual: int = 256,
        growth: tuple[int, int, int, int],
        depths: tuple[int, int, int, int],
        class_num: int = 1000,
        in_channels: int = 3,
    ):
        super().__init__()
        self.conv1_x_1_func = ConvBN(in_channels, stem, stem_kernel, stride=2)
        self.pool = nn.MaxPool2D(3, stride=2, padding=1)
        self.feature_info = [FeatureInfo(stem, 2)]
        self._stages: list[list[str]] = []
        channels = stem
        for stage, depth in enumerate(depths):
            first = sum(depths[:stage]) + 1
            self._stages.append([f"dpn{first + i}" for i in range(depth)])
            for i, name in enumerate(self._stages[-1]):
                block = DualPathBlock(
                    channels,
                    width=width * 2**stage,
                    residual=residual * 2**stage,
                    growth=growth[stage],
                    groups=groups,
                    stride=2 if i == 0 and stage > 0 else 1,
                    project=i == 0,
                )
                self.add_sublayer(name, block)
                channels = block.out_channels
            self.feature_info.append(FeatureInfo(channels, 4 * 2**stage))
        self.conv5_x_x_bn = nn.BatchNorm2D(channels)
        self.out = nn.Linear(channels, class_num, weight_attr=nn.initializer.Uniform(-0.01, 0.01))

    def forward_features(self, x: Tensor) -> list[Tensor]:
        features = [self.conv1_x_1_func(x)]
        x = self.pool(features[0])
        for names in self._stages:
            for name in names:
                x = getattr(self, name)(x)
            features.append(x)
        features[-1] = F.relu(self.conv5_x_x_bn(x))
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


@register_architecture
def DPN68(**kwargs: Any) -> DPN:
    return DPN(
        stem=10,
        stem_kernel=3,
        width=128,
        groups=32,
        residual=64,
        growth=(16, 32, 32, 64),
        depths=(3, 4, 12, 3),
        **kwargs,
    )


@register_architecture
def DPN92(**kwargs: Any) -> DPN:
    return DPN(
        stem=64, width=96, groups=32, growth=(16, 32, 24, 128), depths=(3, 4, 20, 3), **kwargs
    )


@register_architecture
def DPN98(**kwargs: Any) -> DPN:
    return DPN(
        stem=96, width=160, groups=40, growth=(16, 32, 32, 128), depths=(3, 6, 20, 3), **kwargs
    )


@register_architecture
def DPN107(**kwargs: Any) -> DPN:
    return DPN(
        stem=128, width=200, groups=50, growth=(20, 64, 64, 128), depths=(4, 8, 20, 3), **kwargs
    )


@register_architecture
def DPN131(**kwargs: Any) -> DPN:
    return DPN(
        stem=128, width=160, groups=40, growth=(16, 32, 32, 128), depths=(4, 8, 28, 3), **kwargs
    )
