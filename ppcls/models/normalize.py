"""Normalisation as a layer, applied to a batch of transformed images."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from ppcls.data.transforms.normalize import Affine

__all__ = ["Normalize"]


class Normalize(nn.Layer):
    """Maps images (N, H, W, C) to the model's input, float32 (N, C, H, W), on the device."""

    def __init__(self, affine: Affine):
        super().__init__()
        self.register_buffer("scale", paddle.to_tensor(affine.scale.reshape(-1, 1, 1)))
        self.register_buffer("bias", paddle.to_tensor(affine.bias.reshape(-1, 1, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, H, W, C), uint8 or float32, to float32 (N, C, H, W)."""
        return images.transpose([0, 3, 1, 2]).astype("float32") * self.scale + self.bias
