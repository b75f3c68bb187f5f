"""AlexNet in its one-column form (https://arxiv.org/abs/1404.5997).

Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import Uniform

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.registry import register_architecture

__all__ = ["AlexNet"]


def uniform(fan_in: int) -> dict[str, Any]:
    bound = fan_in**-0.5
    return {"weight_attr": Uniform(-bound, bound), "bias_attr": Uniform(-bound, bound)}


def conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 1
) -> nn.Conv2D:
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=padding,
        **uniform(in_channels * kernel_size**2),
    )


@register_architecture
class AlexNet(ImageClassifier):
    """AlexNet.

    Args:
        class_num: number of classes.
        in_channels: channels of the input image.
        dropout: drop probability before each of the two hidden linear layers. The published model
            drops without rescaling in training and scales by `1 - dropout` in evaluation.
    """

    first_conv = "_conv1._conv"
    head = "_fc8"
    head_layers = ("_fc6", "_fc7", "_fc8")

    def __init__(self, class_num: int = 1000, in_channels: int = 3, dropout: float = 0.5):
        super().__init__()
        self.feature_info = [
            FeatureInfo(64, 4),
            FeatureInfo(192, 8),
            FeatureInfo(256, 16),
            FeatureInfo(256, 32),
        ]
        # In the checkpoints, layers before a pooling are nested one level deeper.
        self._conv1 = nn.Sequential(("_conv", conv(in_channels, 64, 11, stride=4, padding=2)))
        self._conv2 = nn.Sequential(("_conv", conv(64, 192, 5, padding=2)))
        self._conv3 = conv(192, 384, 3)
        self._conv4 = conv(384, 256, 3)
        self._conv5 = nn.Sequential(("_conv", conv(256, 256, 3)))
        self._pool = nn.MaxPool2D(kernel_size=3, stride=2)
        self._drop = nn.Dropout(dropout, mode="downscale_in_infer")
        # The published model draws all three from the range of the first.
        flat = 256 * 6 * 6
        self._fc6 = nn.Linear(flat, 4096, **uniform(flat))
        self._fc7 = nn.Linear(4096, 4096, **uniform(flat))
        self._fc8 = nn.Linear(4096, class_num, **uniform(flat))

    def forward_features(self, x: Tensor) -> list[Tensor]:
        c1 = F.relu(self._conv1(x))
        c2 = F.relu(self._conv2(self._pool(c1)))
        c3 = F.relu(self._conv3(self._pool(c2)))
        c5 = F.relu(self._conv5(F.relu(self._conv4(c3))))
        return [c1, c2, c5, self._pool(c5)]

    def forward_head(self, x: Tensor) -> Tensor:
        # The identity at 224x224; it adapts other input sizes to the linear layers.
        x = F.adaptive_avg_pool2d(x, 6).flatten(1)
        x = F.relu(self._fc6(self._drop(x)))
        x = F.relu(self._fc7(self._drop(x)))
        return self._fc8(x)
