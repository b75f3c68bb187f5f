"""The model card: its fields, and values derived from them."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ppcls.errors import WeightsError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LATENCY_BATCHES",
    "Latency",
    "ModelCard",
    "Published",
    "PublishedWeights",
    "read_published",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Latency = tuple[float, float, float]
"""Milliseconds for a batch of each of `LATENCY_BATCHES` images."""

LATENCY_BATCHES = (1, 4, 8)

_WEIGHTS_URL = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures from the published page of the weights; None if it has no figure.

    Attributes:
        top1, top5: accuracy on the validation set of ImageNet-1k, 0 to 1.
        reference_top1, reference_top5: the same from the paper.
        flops_g: billions of operations for one image; a multiply-accumulate counts as one or two
            operations, and `ModelCard.disagreements` states which.
        params_m: millions of parameters.
        v100_fp32, t4_fp16, t4_fp32: latency with TensorRT on an NVIDIA V100 or T4.
    """

    top1: float
    top5: float
    reference_top1: float | None = None
    reference_top5: float | None = None
    flops_g: float
    params_m: float
    v100_fp32: Latency | None = None
    t4_fp16: Latency | None = None
    t4_fp32: Latency | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A published file of weights.

    Attributes:
        variant: "ssld" for distilled weights, "" for the plain ones.
        url: address of the `.pdparams` file.
        published: the figures published with these weights.
        licence: SPDX identifier of their licence.
    """

    variant: str
    url: str
    published: Published
    licence: str = "Apache-2.0"

    @property
    def label(self) -> str:
        """The name in tables: the variant, or "published" for the plain weights."""
        return self.variant or "published"

    @property
    def top1(self) -> float:
        """Published top-1 accuracy, 0 to 1."""
        return self.published.top1

    @property
    def top5(self) -> float:
        """Published top-5 accuracy, 0 to 1."""
        return self.published.top5


def read_published(cards: str, folder: str = "") -> dict[str, tuple[PublishedWeights, ...]]:
    """Return the weights that PaddleClas publishes for a family, by architecture.

    Args:
        cards: the file of the family's cards; `published.csv` beside it has the figures, the plain
            weights of an architecture first, and a column for each field of `Published`.
        folder: the folder on the server.
    """
    found: dict[str, tuple[PublishedWeights, ...]] = {}
    with Path(cards).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name, variant = row.pop("architecture"), row.pop("variant")
            numbers = {key: [float(n) for n in cell.split()] for key, cell in row.items()}
            figures: dict[str, Any] = {
                key: tuple(values) if len(values) > 1 else values[0]
                for key, values in numbers.items()
                if values
            }
            parts = (name, variant, "pretrained.pdparams")
            url = _WEIGHTS_URL + folder + "_".join(part for part in parts if part)
            weights = PublishedWeights(variant=variant, url=url, published=Published(**figures))
            found[name] = (*found.get(name, ()), weights)
    return found


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Facts of one architecture.

    Attributes:
        name: the name that `create_model` takes.
        family: the group it belongs to.
        paper: title of the paper; empty if there is none or it is unknown.
        arxiv: arXiv id of the paper; empty likewise.
        params: number of trainable parameters, measured (1000 classes); None if not measured.
        macs: multiply-accumulates of the convolutions and linear layers for one image of
            `input_size`, measured; None if not measured.
        checkpoints: the published weights, the plain ones first; may be empty.
        input_size: side in pixels of the square evaluation image.
        resize_short: length in pixels of the short side before the centre crop.
        interpolation: interpolation of that resize.
        mean, std: per-channel (RGB) normalisation of an image scaled to [0, 1].
        dropout: default drop probability of the head; None if the architecture has no dropout.
        notes: further remarks for users, in sentences.
    """

    name: str
    family: str
    paper: str = ""
    arxiv: str = ""
    params: int | None = None
    macs: int | None = None
    checkpoints: tuple[PublishedWeights, ...] = ()
    input_size: int = 224
    resize_short: int = 256
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    dropout: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def published(self) -> Published | None:
        """The figures of the plain published weights; None if there are no such weights."""
        return next((c.published for c in self.checkpoints if not c.variant), None)

    def checkpoint(self, variant: str = "") -> PublishedWeights:
        """Return the published weights of a variant; "" is the plain one.

        Raises:
            WeightsError: there are no such weights; the message lists the existing ones.
        """
        for checkpoint in self.checkpoints:
            if checkpoint.variant == variant:
                return checkpoint
        if not self.checkpoints:
            raise WeightsError(
                f"there are no published weights for {self.name}; "
                "`ppcls list` shows which architectures have some"
            )
        wanted = repr(variant) if variant else "plain published"
        have = ", ".join(c.label for c in self.checkpoints)
        raise WeightsError(f"there are no {wanted} weights for {self.name}; it has: {have}")

    def disagreements(self) -> list[str]:
        """Return a sentence for each published count that differs from the measured one.

        This includes published FLOPs that count a multiply-accumulate as two operations. Other
        figures agree if they differ by at most 1% or one unit of the last published digit.
        """
        if self.macs is None or self.params is None:
            return []
        # Variants share the network, so a statement that their pages have in common appears once.
        pages = {(c.published.flops_g, c.published.params_m): None for c in self.checkpoints}
        found = []
        for flops_g, params_m in pages:
            # A page's convention follows from its figure: take the nearer one by ratio.
            operations = 2 if flops_g > math.sqrt(2) * self.macs / 1e9 else 1
            off = _off(flops_g, operations * self.macs / 1e9)
            if operations == 2 or off:
                found.append(
                    f"The published {flops_g:g} GFLOPs count a multiply-accumulate as "
                    f"{'two operations' if operations == 2 else 'one operation'}; "
                    f"measured that way: {operations * self.macs / 1e9:.2f}{off}."
                )
            if off := _off(params_m, self.params / 1e6):
                found.append(
                    f"The published count of parameters is {params_m:g} M; "
                    f"measured: {self.params / 1e6:.2f} M{off}."
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the whole card and its disagreements as plain data for JSON."""
        return asdict(self) | {"disagreements": self.disagreements()}


def _off(published: float, measured: float) -> str:
    last_digit = 10.0 ** -len(str(published).partition(".")[2])
    difference = published - measured
    if abs(difference) <= max(0.01 * measured, last_digit):
        return ""
    more_or_less = "higher" if difference > 0 else "lower"
    return f" (the published figure is {abs(difference) / measured:.1%} {more_or_less})"
