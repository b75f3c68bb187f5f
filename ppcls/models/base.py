"""The base class of every classifier: feature maps by stage, and a head."""

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
        name: the architecture's name in `create_model`.
        feature_info: one entry for each map that `forward_features` returns.
        head: name of the classification layer, as in state_dict keys.
        first_conv: name of the convolution that reads the image.
        checkpointed: the class of the blocks to recompute in the backward pass
            (`Arch.grad_checkpointing`); None for none.
        features_only: whether the model returns the feature maps instead of logits. The layers
            after them stay, unused, so that the same weights load either way.
    """

    name: str
    feature_info: list[FeatureInfo]
    head: str
    first_conv: str
    checkpointed: type[nn.Layer] | None = None
    features_only: bool = False

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Map float32 images (N, C, H, W) to the feature maps of `feature_info`, in order."""
        raise NotImplementedError

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last feature map to float32 logits (N, class_num)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map images (N, C, H, W), float32, to logits (N, class_num), float32.

        With `features_only`, return the list of feature maps that `feature_info` describes.
        """
        features = self.forward_features(x)
        return features if self.features_only else self.forward_head(features[-1])
