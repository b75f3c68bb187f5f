"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters (https://arxiv.org/abs/1602.07360).

A fire module squeezes its input to few channels with a 1x1 convolution, then expands them with
parallel 1x1 and 3x3 convolutions. Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

import itertools
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.registry import register_architecture

__all__ = ["SqueezeNet", "SqueezeNet1_0", "SqueezeNet1_1"]


class ConvReLU(nn.Layer):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0):
        super().__init__()
        self._conv = nn.Conv2D(in_channels, out_channels, kernel_size, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self._conv(x))


class Fire(nn.Layer):
    """Squeeze to `squeeze` channels, then expand to `2 * expand`."""

    def __init__(self, in_channels: int, squeeze: int, expand: int):
        super().__init__()
        self._conv = ConvReLU(in_channels, squeeze, 1)
        self._conv_path1 = ConvReLU(squeeze, expand, 1)
        self._conv_path2 = ConvReLU(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self._conv(x)
        return paddle.concat([self._conv_path1(x), self._conv_path2(x)], axis=1)


class SqueezeNet(ImageClassifier):
    """SqueezeNet.

    Args:
        stem: channels, kernel size and padding of the first convolution.
        squeeze: squeeze channels of each fire module, by stage; max pooling begins a stage.
        class_num: number of classes.
        in_channels: channels of the input image.
        dropout: drop probability before the last convolution. The published models drop without
            rescaling in training and scale by `1 - dropout` in evaluation.
    """

    first_conv = "_conv"
    head = "_conv9"

    def __init__(
        self,
        *,
        stem: tuple[int, int, int],
        squeeze: tuple[tuple[int, ...], ...],
        class_num: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        width, kernel_size, padding = stem
        self._conv = nn.Conv2D(in_channels, width, kernel_size, stride=2, padding=padding)
        self.feature_info = [FeatureInfo(width, 2)]
        self._pool = nn.MaxPool2D(kernel_size=3, stride=2)
        # The checkpoints number the fire modules _conv1 to _conv8 through all stages.
        self._stages: list[list[str]] = []
        numbers = itertools.count(1)
        for stage in squeeze:
            self._stages.append([])
            for channels in stage:
                name = f"_conv{next(numbers)}"
                self.add_sublayer(name, Fire(width, channels, 4 * channels))
                self._stages[-1].append(name)
                width = 8 * channels
            self.feature_info.append(FeatureInfo(width, 2 ** (len(self._stages) + 1)))
        self._drop = nn.Dropout(dropout, mode="downscale_in_infer")
        self._conv9 = nn.Conv2D(width, class_num, 1)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        features = [F.relu(self._conv(x))]
        for stage in self._stages:
            x = self._pool(features[-1])
            for name in stage:
                x = getattr(self, name)(x)
            features.append(x)
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        x = F.relu(self._conv9(self._drop(x)))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


@register_architecture
def SqueezeNet1_0(**kwargs: Any) -> SqueezeNet:
    squeeze = ((16, 16, 32), (32, 48, 48, 64), (64,))
    return SqueezeNet(stem=(96, 7, 0), squeeze=squeeze, **kwargs)


@register_architecture
def SqueezeNet1_1(**kwargs: Any) -> SqueezeNet:
    # A smaller stem and earlier pooling: 1.0 takes 2.2 times as many operations.
    squeeze = ((16, 16), (32, 32), (48, 48, 64, 64))
    return SqueezeNet(stem=(64, 3, 1), squeeze=squeeze, **kwargs)
