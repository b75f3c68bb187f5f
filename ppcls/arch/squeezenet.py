"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters (https://arxiv.org/abs/1602.07360).

A fire module squeezes its input to few channels with a 1x1 convolution, then expands them with
1x1 and 3x3 convolutions side by side. Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.arch.layers import FeatureInfo, ImageClassifier
from ppcls.arch.registry import register_model

__all__ = ["SqueezeNet", "SqueezeNet1_1"]


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
    """SqueezeNet 1.1: 3x3 stem, pooled early (2.4x fewer operations than 1.0).

    Args:
        class_num: number of classes.
        in_channels: channels of the input image.
        dropout: probability before the last convolution. The published models drop without
            rescaling in training and scale by `1 - dropout` in evaluation.
    """

    head = "_conv9"

    def __init__(self, class_num: int = 1000, in_channels: int = 3, dropout: float = 0.5):
        super().__init__()
        self._conv = nn.Conv2D(in_channels, 64, 3, stride=2, padding=1)
        self._conv1 = Fire(64, 16, 64)
        self._conv2 = Fire(128, 16, 64)
        self._conv3 = Fire(128, 32, 128)
        self._conv4 = Fire(256, 32, 128)
        self._conv5 = Fire(256, 48, 192)
        self._conv6 = Fire(384, 48, 192)
        self._conv7 = Fire(384, 64, 256)
        self._conv8 = Fire(512, 64, 256)
        self._pool = nn.MaxPool2D(kernel_size=3, stride=2)
        self._drop = nn.Dropout(dropout, mode="downscale_in_infer")
        self._conv9 = nn.Conv2D(512, class_num, 1)
        self.feature_info = [
            FeatureInfo(64, 2),
            FeatureInfo(128, 4),
            FeatureInfo(256, 8),
            FeatureInfo(512, 16),
        ]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        c1 = F.relu(self._conv(x))
        c2 = self._conv2(self._conv1(self._pool(c1)))
        c3 = self._conv4(self._conv3(self._pool(c2)))
        c4 = self._conv8(self._conv7(self._conv6(self._conv5(self._pool(c3)))))
        return [c1, c2, c3, c4]

    def forward_head(self, x: Tensor) -> Tensor:
        x = F.relu(self._conv9(self._drop(x)))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


@register_model
def SqueezeNet1_1(**kwargs) -> SqueezeNet:
    return SqueezeNet(**kwargs)
