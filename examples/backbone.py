"""Use a classification network as a backbone: its feature maps with a head of your own.

    python examples/backbone.py

The head below is a segmentation head. It learns to mark bright squares in noise, which takes a few
seconds. `--weights true` starts from published ImageNet weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

import ppcls


class Segmenter(nn.Layer):
    """Maps images (N, 3, H, W) to logits (N, 1, H, W): whether a pixel belongs to the object."""

    def __init__(self, arch: str, weights: bool | str):
        super().__init__()
        # Instead of class scores, the network now returns one feature map for each stage.
        self.backbone = ppcls.create_model(arch, pretrained=weights, features_only=True)
        # feature_info holds each map's channels and stride (input pixels for each cell).
        self.narrow = nn.LayerList(
            [nn.Conv2D(info.channels, 16, 1) for info in self.backbone.feature_info]
        )
        self.answer = nn.Conv2D(16, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Resize all maps to the finest one, add them up, and resize the result to the images."""
        maps = [conv(m) for conv, m in zip(self.narrow, self.backbone(images), strict=True)]
        size = maps[0].shape[2:]
        total = sum(F.interpolate(m, size=size, mode="bilinear") for m in maps)
        return F.interpolate(self.answer(F.relu(total)), size=images.shape[2:], mode="bilinear")


def squares(rng: np.random.Generator, count: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """Return noisy images float32 (N, 3, S, S) with one square each, and its masks (N, 1, S, S)."""
    images = rng.normal(0, 1, (count, 3, side, side)).astype("float32")
    masks = np.zeros((count, 1, side, side), "float32")
    for mask in masks:
        top, left = rng.integers(0, side // 2, 2)
        mask[:, top : top + side // 2, left : left + side // 2] = 1
    return paddle.to_tensor(images + 2 * masks), paddle.to_tensor(masks)


def main(argv: Sequence[str] | None = None) -> float:
    """Run the example; return the pixel accuracy on new images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="HarDNet39_ds", help="as `ppcls list` prints them")
    parser.add_argument("--weights", default="false", help="true, or a file of weights")
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args(argv)
    weights = {"true": True, "false": False}.get(args.weights, args.weights)

    paddle.seed(0)
    rng = np.random.default_rng(0)
    model = Segmenter(args.arch, weights)
    for info in model.backbone.feature_info:
        print(
            f"a map of {info.channels} channels, one cell for {info.stride} x {info.stride} pixels"
        )

    # The layers after the last map are unused: they get no gradients, and the optimizer skips
    # them.
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    for step in range(1, args.steps + 1):
        images, masks = squares(rng, 8)
        loss = F.binary_cross_entropy_with_logits(model(images), masks)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.3f}")

    images, masks = squares(rng, 16)
    with paddle.no_grad():
        right = ((model(images) > 0) == (masks > 0)).astype("float32").mean().item()
    print(f"pixel accuracy on new images: {right:.1%}")
    return right


if __name__ == "__main__":
    main()
