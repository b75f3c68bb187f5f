"""The base class of every classifier: feature maps by stage, and a head."""

from __future__ import annotations

from typing import NamedTuple

import paddle.nn.functional as F
from paddle import Tensor, nn

__all__ = ["LINEAR_HEAD", "FeatureInfo", "ImageClassifier"]

LINEAR_HEAD = "linear_head"
"""The name of the layer that `ImageClassifier.use_linear_head` adds, as in state_dict keys."""


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
        head_layers: names of all layers with weights that `forward_head` has to itself; empty for
            `head` alone.
        first_conv: name of the convolution that reads the image.
        checkpointed: the class of the blocks to recompute in the backward pass
            (`Arch.grad_checkpointing`); None for none.
        features_only: whether the model returns the feature maps instead of logits. The layers
            after them stay, unused, so that the same weights load either way.
    """

    name: str
    feature_info: list[FeatureInfo]
    head: str
    head_layers: tuple[str, ...] = ()
    first_conv: str
    checkpointed: type[nn.Layer] | None = None
    features_only: bool = False

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Map float32 images (N, C, H, W) to the feature maps of `feature_info`, in order."""
        raise NotImplementedError

    def forward_head(self, x: Tensor) -> Tensor:
        """Map the last feature map to float32 logits (N, class_num)."""
        raise NotImplementedError

    def classify(self, x: Tensor) -> Tensor:
        """Map the last feature map, float32 (N, C, H, W), to float32 logits (N, class_num).

        This is `forward_head`, unless `use_linear_head` has replaced it.
        """
        if self.head != LINEAR_HEAD:
            return self.forward_head(x)
        return getattr(self, LINEAR_HEAD)(F.adaptive_avg_pool2d(x, 1).flatten(1))

    def use_linear_head(self, class_num: int) -> None:
        """Replace the head by a linear layer of zeros on the means of the last feature map.

        The layer is `linear_head`, with the state_dict keys `linear_head.weight` (C, class_num)
        and `linear_head.bias` (class_num,), float32. The layers of the replaced head are removed.
        """
        for name in self.own_head_layers:
            parent, _, last = name.rpartition(".")
            layer: nn.Layer = self
            for part in parent.split(".") if parent else ():
                layer = getattr(layer, part)
            delattr(layer, last)
        # Zeros, because features of pretrained weights may be large: random weights would give
        # large first gradients, which spoil networks without batch normalisation.
        channels = self.feature_info[-1].channels
        zeros = nn.initializer.Constant(0.0)
        self.add_sublayer(LINEAR_HEAD, nn.Linear(channels, class_num, weight_attr=zeros))
        # Kept to recognise the weights of a model with its own head.
        self.head_layers = self.own_head_layers
        self.head = LINEAR_HEAD

    @property
    def own_head_layers(self) -> tuple[str, ...]:
        """Names of the layers that the architecture's own head has, or had, to itself."""
        return self.head_layers or (self.head,)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Map images (N, C, H, W), float32, to logits (N, class_num), float32.

        With `features_only`, return the list of feature maps that `feature_info` describes.
        """
        features = self.forward_features(x)
        return features if self.features_only else self.classify(features[-1])
