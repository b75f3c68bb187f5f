"""What the model families share: the classifier's frame."""

from __future__ import annotations

from typing import NamedTuple

from paddle import Tensor, nn

__all__ = ["FeatureInfo", "ImageClassifier"]


class FeatureInfo(NamedTuple):
    """One feature map: its channels, and how many input pixels one of its pixels spans."""

    channels: int
    stride: int


class ImageClassifier(nn.Layer):
    """A model that computes feature maps by stage and a classification from the last one.

    A family implements `forward_features` and `forward_head`, and sets:

    Attributes:
        feature_info: one entry for each map that `forward_features` returns.
        head: name of the layer, as in state_dict keys, whose outputs are the classes.
    """

    feature_info: list[FeatureInfo]
    head: str

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Map images (N, C, H, W) to the feature maps described by `feature_info`, in order."""
        raise NotImplementedError

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last feature map to logits (N, class_num)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W), float32, to logits (N, class_num), float32."""
        return self.forward_head(self.forward_features(x)[-1])
