"""HRNet: deep high-resolution representation learning (https://arxiv.org/abs/1908.07919).

Branches at strides 4, 8, 16 and 32 run in parallel, one more in every stage, and exchange features
after each module; the highest resolution stays to the end. `SE_` variants add
squeeze-and-excitation (https://arxiv.org/abs/1709.01507) to every residual block. Attribute names
are those of the published checkpoints.
"""

from __future__ import annotations

from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ppcls.models.base import FeatureInfo, ImageClassifier
from ppcls.models.layers import conv2d, squeeze_excite, uniform_linear
from ppcls.models.registry import register_architecture

__all__ = ["HRNet"]


def _upsample_to(x: Tensor, target: Tensor, scale: int) -> Tensor:
    """Nearest upsampling by an integer factor, cropped to the target's size.

    Halving rounds an odd side up, so the upsampled map may be a little too large.
    """
    if paddle.in_dynamic_mode():
        x = F.interpolate(x, scale_factor=scale, mode="nearest")
    else:
        # Bit-identical, without the operator that several export formats refuse.
        channels, height, width = x.shape[1:]
        x = x.reshape([-1, channels, height, 1, width, 1])
        x = x.expand([-1, channels, height, scale, width, scale])
        x = x.reshape([-1, channels, height * scale, width * scale])
    if x.shape[2:] != target.shape[2:]:
        x = x[:, :, : target.shape[2], : target.shape[3]]
    return x


class HRConv(nn.Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        relu: bool = True,
    ):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel_size, stride=stride)
        self.bn = nn.BatchNorm2D(out_channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x) if self.relu else x


class SqueezeExcitation(nn.Layer):
    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc_squeeze = uniform_linear(channels, channels // reduction)
        self.fc_excitation = uniform_linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excite(x, self.fc_squeeze, self.fc_excitation)


class BasicBlock(nn.Layer):
    def __init__(self, channels: int, use_se: bool):
        super().__init__()
        self.conv1 = HRConv(channels, channels)
        self.conv2 = HRConv(channels, channels, relu=False)
        self.se = SqueezeExcitation(channels) if use_se else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        if self.se is not None:
            y = self.se(y)
        return F.relu(x + y)


class Bottleneck(nn.Layer):
    def __init__(self, in_channels: int, width: int, use_se: bool):
        super().__init__()
        out_channels = 4 * width
        self.conv1 = HRConv(in_channels, width, 1)
        self.conv2 = HRConv(width, width)
        self.conv3 = HRConv(width, out_channels, 1, relu=False)
        self.conv_down = None
        if in_channels != out_channels:
            self.conv_down = HRConv(in_channels, out_channels, 1, relu=False)
        self.se = SqueezeExcitation(out_channels) if use_se else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.conv_down is None else self.conv_down(x)
        y = self.conv3(self.conv2(self.conv1(x)))
        if self.se is not None:
            y = self.se(y)
        return F.relu(shortcut + y)


class Fusion(nn.Layer):
    """Add to each branch the other branches, adapted to its resolution and channels."""

    def __init__(self, channels: list[int]):
        super().__init__()
        convs = []
        for i, out_channels in enumerate(channels):
            for j, in_channels in enumerate(channels):
                if j > i:
                    convs.append(HRConv(in_channels, out_channels, 1, relu=False))
                elif j < i:
                    convs += [HRConv(in_channels, in_channels, stride=2) for _ in range(j + 1, i)]
                    convs.append(HRConv(in_channels, out_channels, stride=2, relu=False))
        self.residual_func_list = nn.LayerList(convs)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        convs = iter(self.residual_func_list)
        fused = []
        for i, target in enumerate(branches):
            total = target
            for j, source in enumerate(branches):
                if j > i:
                    total = total + _upsample_to(next(convs)(source), target, 2 ** (j - i))
                elif j < i:
                    y = source
                    for _ in range(i - j):
                        y = next(convs)(y)
                    total = total + y
            fused.append(F.relu(total))
        return fused


class HighResolutionModule(nn.Layer):
    """Four residual blocks on each branch, then the exchange between branches."""

    def __init__(self, channels: list[int], use_se: bool):
        super().__init__()
        self.basic_block_list = nn.LayerList(
            [nn.Sequential(*[BasicBlock(c, use_se) for _ in range(4)]) for c in channels]
        )
        self.fuse_func = Fusion(channels)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        outputs = [blocks(branches[i]) for i, blocks in enumerate(self.basic_block_list)]
        return self.fuse_func(outputs)


def _stage(channels: list[int], modules: int, use_se: bool) -> nn.Sequential:
    stage = nn.Sequential(*[HighResolutionModule(channels, use_se) for _ in range(modules)])
    return nn.Sequential(("stage_func_list", stage))


class HRNet(ImageClassifier):
    """HRNet with the classification head of the paper (`_C`).

    The feature maps come from the head: each branch widened by a bottleneck, plus the downsampled
    map of the next higher resolution.

    Args:
        width: channels of the highest resolution; every halving of the resolution doubles them.
        use_se: squeeze-and-excitation in the residual blocks.
        class_num: number of classes.
        in_channels: channels of the input image.
    """

    first_conv = "conv_layer1_1.conv"
    head = "fc"
    head_layers = ("conv_last", "fc")

    def __init__(
        self, *, width: int, use_se: bool = False, class_num: int = 1000, in_channels: int = 3
    ):
        super().__init__()
        channels = [width * 2**i for i in range(4)]
        self.conv_layer1_1 = HRConv(in_channels, 64, stride=2)
        self.conv_layer1_2 = HRConv(64, 64, stride=2)
        self.layer1 = nn.Sequential(*[Bottleneck(c, 64, use_se) for c in (64, 256, 256, 256)])
        self.conv_tr1_1 = HRConv(256, channels[0])
        self.conv_tr1_2 = HRConv(256, channels[1], stride=2)
        self.st2 = _stage(channels[:2], 1, use_se)
        self.conv_tr2 = HRConv(channels[1], channels[2], stride=2)
        self.st3 = _stage(channels[:3], 4, use_se)
        self.conv_tr3 = HRConv(channels[2], channels[3], stride=2)
        self.st4 = _stage(channels, 3, use_se)
        widen = [Bottleneck(c, 32 * 2**i, use_se) for i, c in enumerate(channels)]
        self.last_cls = nn.LayerDict({"func_list": nn.LayerList(widen)})
        self.cls_head_conv_list = nn.LayerList(
            [HRConv(c, 2 * c, stride=2) for c in (128, 256, 512)]
        )
        self.conv_last = HRConv(1024, 2048, 1)
        self.fc = uniform_linear(2048, class_num)
        self.feature_info = [
            FeatureInfo(64, 2),
            FeatureInfo(128, 4),
            FeatureInfo(256, 8),
            FeatureInfo(512, 16),
            FeatureInfo(1024, 32),
        ]

    def forward_features(self, x: Tensor) -> list[Tensor]:
        stem = self.conv_layer1_1(x)
        x = self.layer1(self.conv_layer1_2(stem))
        branches = self.st2([self.conv_tr1_1(x), self.conv_tr1_2(x)])
        branches = self.st3([*branches, self.conv_tr2(branches[-1])])
        branches = self.st4([*branches, self.conv_tr3(branches[-1])])
        maps = [widen(branches[i]) for i, widen in enumerate(self.last_cls["func_list"])]
        for i, down in enumerate(self.cls_head_conv_list):
            maps[i + 1] = maps[i + 1] + down(maps[i])
        return [stem, *maps]

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.conv_last(x), 1).flatten(1))


for _width in (18, 30, 32, 40, 44, 48, 60, 64):
    register_architecture(partial(HRNet, width=_width), name=f"HRNet_W{_width}_C")
    register_architecture(partial(HRNet, width=_width, use_se=True), name=f"SE_HRNet_W{_width}_C")
