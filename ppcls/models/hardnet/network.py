"""HarDNet: a low memory traffic network (https://arxiv.org/abs/1909.00948).

Layer k of a harmonic dense block reads layer k - 2^n for every n where 2^n divides k, so most
layers have a single input and can be freed early; layers that many others read are made wider.
Attribute names are those of the published checkpoints.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import conv2d
from ppcls.models.registry import register_architecture

__all__ = ["HarDNet", "HarDNet39_ds", "HarDNet68", "HarDNet68_ds", "HarDNet85"]


def relu6(x: Tensor) -> Tensor:
    # Same as F.relu6, written with an operator that every export format supports.
    return paddle.clip(x, 0.0, 6.0)


class ConvBNReLU6(nn.Layer):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel_size, stride=stride)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return relu6(self.norm(self.conv(x)))


class DepthwiseConvBN(nn.Layer):
    def __init__(self, channels: int, stride: int = 1):
        super().__init__()
        self.dwconv = conv2d(channels, channels, 3, stride=stride, groups=channels)
        self.norm = nn.BatchNorm2D(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.dwconv(x))


class PointwiseDepthwise(nn.Layer):
    """The depthwise-separable layer of the `_ds` variants: 1x1, then 3x3 depthwise."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.layer1 = ConvBNReLU6(in_channels, out_channels, kernel_size=1)
        self.layer2 = DepthwiseConvBN(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer2(self.layer1(x))


class HarDBlock(nn.Layer):
    """A harmonic dense block of `depth` layers; its output joins the odd layers and the last.

    A layer with n + 1 inputs has `growth * multiplier ** n` channels, rounded to an even number.
    """

    def __init__(
        self, in_channels: int, growth: int, multiplier: float, depth: int, depthwise: bool
    ):
        super().__init__()
        self.links = [
            [k - 2**n for n in range(k.bit_length()) if k % 2**n == 0] for k in range(1, depth + 1)
        ]
        self.kept = [k for k in range(1, depth + 1) if k % 2 == 1 or k == depth]
        layer = PointwiseDepthwise if depthwise else ConvBNReLU6
        widths = [in_channels]
        self.layers = nn.LayerList()
        for links in self.links:
            width = growth * multiplier ** (len(links) - 1)
            widths.append((int(width) + 1) // 2 * 2)
            self.layers.append(layer(sum(widths[i] for i in links), widths[-1]))
        self.out_channels = sum(widths[k] for k in self.kept)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        # Export cannot trace zip(strict=True).
        for layer, links in zip(self.layers, self.links):  # noqa: B905
            inputs = [outputs[i] for i in links]
            outputs.append(layer(inputs[0] if len(inputs) == 1 else paddle.concat(inputs, axis=1)))
        return paddle.concat([outputs[k] for k in self.kept], axis=1)


class HarDNet(ImageClassifier):
    """HarDNet.

    Args:
        stem: channels of the two stem convolutions.
        channels: channels after each block.
        growth: growth rate of each block.
        depth: number of layers of each block.
        downsample: whether the resolution is halved after each block.
        multiplier: factor by which each additional input widens a layer.
        depthwise: depthwise-separable layers and strided depthwise downsampling (`_ds`).
        block_dropout: drop probability after the last block; None for no dropout layer, which
            shifts the index of the layers after it.
        dropout: drop probability before the linear layer.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "base.0.conv"
    checkpointed = HarDBlock

    def __init__(
        self,
        *,
        stem: tuple[int, int],
        channels: tuple[int, ...],
        growth: tuple[int, ...],
        depth: tuple[int, ...],
        downsample: tuple[bool, ...],
        multiplier: float,
        depthwise: bool = False,
        block_dropout: float | None = None,
        dropout: float,
        class_num: int = 1000,
        in_channels: int = 3,
    ):
        super().__init__()
        base: list[nn.Layer] = [
            ConvBNReLU6(in_channels, stem[0], stride=2),
            ConvBNReLU6(stem[0], stem[1], kernel_size=1 if depthwise else 3),
        ]
        # `_stage_ends`: the index of the last layer before each halving of the resolution.
        self._stage_ends = [1]
        self.feature_info = [FeatureInfo(stem[1], 2)]
        base.append(DepthwiseConvBN(stem[1], stride=2) if depthwise else nn.MaxPool2D(3, 2, 1))
        width = stem[1]
        for i, out_channels in enumerate(channels):
            block = HarDBlock(width, growth[i], multiplier, depth[i], depthwise)
            last = i == len(channels) - 1
            base.append(block)
            if last and block_dropout is not None:
                base.append(nn.Dropout(block_dropout))
            base.append(ConvBNReLU6(block.out_channels, out_channels, kernel_size=1))
            width = out_channels
            if downsample[i] or last:
                self._stage_ends.append(len(base) - 1)
                self.feature_info.append(FeatureInfo(width, 2 ** (len(self.feature_info) + 1)))
            if downsample[i]:
                base.append(DepthwiseConvBN(width, stride=2) if depthwise else nn.MaxPool2D(2, 2))
        base.append(
            nn.Sequential(
                nn.AdaptiveAvgPool2D(1),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(width, class_num),
            )
        )
        self.base = nn.LayerList(base)
        self.head = f"base.{len(base) - 1}.3"

    def forward_features(self, x: Tensor) -> list[Tensor]:
        features = []
        for i in range(self._stage_ends[-1] + 1):
            x = self.base[i](x)
            if i in self._stage_ends:
                features.append(x)
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        return self.base[-1](x)


_HARDNET68: dict[str, Any] = {
    "stem": (32, 64),
    "channels": (128, 256, 320, 640, 1024),
    "growth": (14, 16, 20, 40, 160),
    "depth": (8, 16, 16, 16, 4),
    "downsample": (True, False, True, True, False),
    "multiplier": 1.7,
}


@register_architecture
def HarDNet39_ds(*, dropout: float = 0.05, **kwargs: Any) -> HarDNet:
    return HarDNet(
        stem=(24, 48),
        channels=(96, 320, 640, 1024),
        growth=(16, 20, 64, 160),
        depth=(4, 16, 8, 4),
        downsample=(True, True, True, False),
        multiplier=1.6,
        depthwise=True,
        dropout=dropout,
        **kwargs,
    )


@register_architecture
def HarDNet68_ds(*, dropout: float = 0.05, **kwargs: Any) -> HarDNet:
    return HarDNet(**_HARDNET68, depthwise=True, dropout=dropout, **kwargs)


@register_architecture
def HarDNet68(*, dropout: float = 0.1, **kwargs: Any) -> HarDNet:
    return HarDNet(**_HARDNET68, dropout=dropout, **kwargs)


@register_architecture
def HarDNet85(*, dropout: float = 0.2, **kwargs: Any) -> HarDNet:
    return HarDNet(
        stem=(48, 96),
        channels=(192, 256, 320, 480, 720, 1280),
        growth=(24, 24, 28, 36, 48, 256),
        depth=(8, 16, 16, 16, 16, 4),
        downsample=(True, False, True, False, True, False),
        multiplier=1.7,
        block_dropout=0.1,
        dropout=dropout,
        **kwargs,
    )
