"""The model card's fields."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ModelCard"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Facts of one architecture.

    Attributes:
        name: the name that `create_model` takes.
        family: the group it belongs to.
        paper: title of the paper.
        arxiv: arXiv id of the paper.
        params: trainable parameters, measured (1000 classes).
        macs: multiply-accumulates of the convolutions and linear layers for one image of
            `input_size`, measured.
        published_top1, published_top5: published ImageNet-1k validation accuracy, 0 to 1;
            None where there is no published figure.
        input_size: side in pixels of the square image of evaluation.
        resize_short: the short side is resized to this many pixels before the centre crop.
        interpolation: how it is resized.
        mean, std: per-channel (RGB) normalisation of an image scaled to [0, 1].
        dropout: default drop probability of the head; None where the architecture has none.
    """

    name: str
    family: str
    paper: str
    arxiv: str
    params: int
    macs: int
    published_top1: float | None
    published_top5: float | None
    input_size: int = 224
    resize_short: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    dropout: float | None = None
