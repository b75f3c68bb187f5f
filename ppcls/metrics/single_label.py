"""Single-label metrics, and tables of the classes, confusions and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ppcls.metrics.answers import Answers
from ppcls.metrics.base import METRICS, Metric
from ppcls.options import Count

if TYPE_CHECKING:
    from paddle import Tensor

    from ppcls.metrics.multi_label import LabelRow

__all__ = [
    "Calibration",
    "ClassRow",
    "Confusion",
    "DistillationTopkAcc",
    "TopkAcc",
    "TopkShare",
    "calibrate",
    "class_rows",
    "confused_pairs",
    "confusion_matrix",
    "macro_means",
    "ratio",
]


class TopkShare(Metric):
    """The share of images whose class is among the `k` most probable ones."""

    by_batch: ClassVar[bool] = True

    k: Count

    @property
    def key(self) -> str:
        """Its name in logs and records."""
        return f"top{self.k}"

    def value(self, answers: Answers) -> float:
        """Return the share."""
        return answers.topk(self.k)

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return 1 for each hit and 0 for others, float64 (N,), of float32 (N, C), int64 (N,)."""
        best = logits.topk(self.k, axis=1)[1]
        return (best == labels.unsqueeze(1)).any(1).astype("float64")


@METRICS.register
class TopkAcc(Metric):
    """The share of images whose class is among the `topk` most probable ones, for each k."""

    by_batch: ClassVar[bool] = True

    topk: Annotated[list[Count], Field(min_length=1)] = [1, 5]

    def parts(self, class_num: int) -> list[TopkShare]:
        """Return one share for each k, except a k above the number of classes."""
        return [TopkShare(k=k) for k in sorted({min(k, class_num) for k in self.topk})]


@METRICS.register
class DistillationTopkAcc(TopkAcc):
    """`TopkAcc` of the model `model_key` of `Arch.models`."""

    model_key: str
    feature_key: Literal["logits", "output"] | None = None

    @property
    def models(self) -> list[str]:
        """The distillation model that it measures."""
        return [self.model_key]


class ClassRow(NamedTuple):
    """One class: how many images belong to it, how many were predicted as it, and its metrics.

    `precision` is None if no image was predicted as the class, `recall` if no image belongs to it,
    and `f1` if both hold.
    """

    label: int
    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Images of `label` that were predicted as `predicted`, and their share of `label`'s images."""

    label: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in bins of equal width (arrays with one entry a bin).

    Attributes:
        edges: float64 (bins + 1,); a bin includes its upper edge but not its lower one.
        count: int64, number of images in a bin.
        confidence: float64, their mean confidence; NaN in an empty bin.
        accuracy: float64, their accuracy; NaN in an empty bin.
        error: the expected calibration error: |accuracy - confidence| of a bin, averaged over all
            images (https://arxiv.org/abs/1706.04599).
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def ratio(part: int, whole: int) -> float | None:
    """Return a quotient; None if it is undefined."""
    return part / whole if whole else None


def class_rows(answers: Answers, names: Sequence[str]) -> list[ClassRow]:
    """Return one row for each class, in their order."""
    classes = len(names)
    support = np.bincount(answers.label, minlength=classes).tolist()
    taken = np.bincount(answers.predicted[answers.read], minlength=classes).tolist()
    right = np.bincount(answers.label[~answers.wrong], minlength=classes).tolist()
    return [
        ClassRow(
            label,
            name,
            support[label],
            taken[label],
            ratio(right[label], taken[label]),
            ratio(right[label], support[label]),
            ratio(2 * right[label], support[label] + taken[label]),
        )
        for label, name in enumerate(names)
    ]


def macro_means(rows: Sequence[ClassRow | LabelRow]) -> dict[str, float]:
    """Return the means of `precision`, `recall` and `f1` over the classes that have images.

    A class without predictions counts with precision 0.
    """
    present = [row for row in rows if row.support]
    return {
        key: math.fsum(getattr(row, key) or 0.0 for row in present) / len(present)
        for key in ("precision", "recall", "f1")
    }


def confusion_matrix(answers: Answers, class_num: int) -> np.ndarray:
    """Return counts, int64 (class_num, class_num): a row a true class, a column a prediction."""
    cells = (answers.label * class_num + answers.predicted)[answers.read]
    return np.bincount(cells, minlength=class_num**2).reshape(class_num, class_num)


def confused_pairs(answers: Answers) -> list[Confusion]:
    """Return the confusions, the most frequent first."""
    support = np.bincount(answers.label)
    wrong = np.stack([answers.label, answers.predicted], 1)[answers.wrong & answers.read]
    pairs, counts = np.unique(wrong, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        Confusion(int(a), int(b), int(n), int(n) / int(support[a]))
        for (a, b), n in zip(pairs[order], counts[order], strict=True)
    ]


def calibrate(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Calibration:
    """Compare the confidence of predictions, float32 (N,), with their correctness, bool (N,)."""
    edges = np.linspace(0, 1, bins + 1)
    at = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(at, confidence, minlength=bins) / count
        accuracy = np.bincount(at, right, minlength=bins) / count
    gaps = np.nan_to_num(np.abs(accuracy - mean))
    return Calibration(edges, count, mean, accuracy, float((gaps * count).sum() / count.sum()))
