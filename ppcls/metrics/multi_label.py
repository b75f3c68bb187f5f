"""Multi-label metrics (decisions and ranking), and the table of labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from ppcls.metrics.answers import LabelSets
from ppcls.metrics.base import METRICS, Metric
from ppcls.metrics.single_label import ratio
from ppcls.thresholds import ClassThresholds

if TYPE_CHECKING:
    from paddle import Tensor

__all__ = [
    "AccuracyScore",
    "HammingDistance",
    "LabelRow",
    "MultiLabelMAP",
    "average_precision",
    "decided",
    "decision_threshold",
    "label_rows",
    "micro_means",
    "precision_recall_curve",
]


def decision_threshold(metrics: Sequence[object]) -> float | list[float]:
    """Return the threshold of the first metric that has one, or 0.5; a list has one a label."""
    return next((m.threshold for m in metrics if hasattr(m, "threshold")), 0.5)


def decided(scores: np.ndarray, threshold: float | Sequence[float]) -> np.ndarray:
    """Return which labels images are given, bool (N, C): those with a score above the threshold.

    Args:
        scores: float32 (N, C).
        threshold: one for all labels, or for each.
    """
    return scores > np.asarray(threshold, scores.dtype)


def precision_recall_curve(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and threshold (all (K,)) for each of the K different scores.

    Thresholds fall; an image gets the label if its score is at least the threshold.

    Args:
        labels: bool (N,), at least one of them true.
        scores: float32 (N,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked, thresholds = labels[order], scores[order]
    # Equal scores cross the threshold together.
    last = np.append(np.flatnonzero(np.diff(thresholds)), len(thresholds) - 1)
    true_positives = np.cumsum(ranked)[last]
    return true_positives / (last + 1), true_positives / ranked.sum(), thresholds[last]


def average_precision(
    labels: np.ndarray, scores: np.ndarray, map_type: str = "integral"
) -> float | None:
    """Return the average precision of one label; None if no image has it.

    Args:
        labels: bool (N,), whether each image has it.
        scores: float32 (N,).
        map_type: `integral` (steps of the precision-recall curve) or `11point` (PASCAL VOC 2007).
    """
    if not labels.any():
        return None
    precision, recall, _ = precision_recall_curve(labels, scores)
    if map_type == "integral":
        return float(np.sum(np.diff(recall, prepend=0) * precision))
    points = [precision[recall >= r].max() for r in np.linspace(0, 1, 11) - 1e-9]
    return float(np.mean(points))


class _Decisions(Metric):
    labels: ClassVar[Literal["several"]] = "several"
    by_batch: ClassVar[bool] = True

    threshold: ClassThresholds = 0.5

    def value(self, answers: LabelSets) -> float:
        given = decided(answers.scores, self.threshold)
        # All decisions about an unreadable image are wrong.
        right = (given == answers.labels) & answers.read[:, None]
        return float(self._of_images(right.astype(np.float64)).mean())

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        import paddle

        scores = logits.sigmoid()
        threshold = paddle.to_tensor(self.threshold, dtype=scores.dtype)
        right = (scores > threshold) == (labels > 0.5)
        return self._of_images(right.astype("float64"))

    def _of_images(self, right: Any) -> Any:
        """Return a score for each image, float64 (N,), from its right decisions, float64 (N, C)."""
        raise NotImplementedError


@METRICS.register
class AccuracyScore(_Decisions):
    """The share of right decisions at `threshold`, one for all classes or a list with one for each.

    `base: label` counts (image, class) decisions; `base: sample` counts images whose labels are all
    right, with no others predicted.
    """

    base: Literal["sample", "label"] = "label"

    @property
    def key(self) -> str:
        """Its name in logs and records."""
        return "AccuracyScore_sample" if self.base == "sample" else "AccuracyScore"

    def _of_images(self, right: Any) -> Any:
        return right.min(1) if self.base == "sample" else right.mean(1)


@METRICS.register
class HammingDistance(_Decisions):
    """The share of (image, class) decisions that are wrong, at `threshold`. Lower is better."""

    higher_is_better: ClassVar[bool] = False

    def _of_images(self, right: Any) -> Any:
        return 1 - right.mean(1)


@METRICS.register
class MultiLabelMAP(Metric):
    """The average precision, averaged over all classes with at least one positive image.

    `integral` is the area under the precision-recall curve as a sum of steps (as in scikit-learn),
    `11point` the interpolated mean of PASCAL VOC 2007.
    """

    labels: ClassVar[Literal["several"]] = "several"

    map_type: Literal["integral", "11point"] = "integral"

    def value(self, answers: LabelSets) -> float:
        """Return the mean; NaN if no image has a label."""
        columns = zip(answers.labels.T, answers.scores.T, strict=True)
        values = [average_precision(*column, self.map_type) for column in columns]
        present = [value for value in values if value is not None]
        return math.fsum(present) / len(present) if present else math.nan


class LabelRow(NamedTuple):
    """One label: how many images have it, how many were predicted to have it, and its metrics.

    Undefined values are None, as in `ClassRow`. `best_threshold` gives the highest F1, `best_f1`;
    `Infer.PostProcess.threshold` takes one for each label.
    """

    label: int
    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None
    best_threshold: float | None
    best_f1: float | None


def label_rows(
    found: LabelSets, names: Sequence[str], threshold: float | Sequence[float]
) -> list[LabelRow]:
    """Return one row for each label, in their order."""
    rows = []
    decisions = decided(found.scores, threshold)
    for label, name in enumerate(names):
        labels, scores = found.labels[:, label], found.scores[:, label]
        given = decisions[:, label]
        support, taken, right = int(labels.sum()), int(given.sum()), int((labels & given).sum())
        best_threshold = best_f1 = None
        if support:
            precision, recall, thresholds = precision_recall_curve(labels, scores)
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
            best = int(f1.argmax())
            best_f1 = float(f1[best])
            # Halfway to the next score, so that this one is above it.
            best_threshold = float(np.append(thresholds, 0.0)[best : best + 2].mean())
        rows.append(
            LabelRow(
                label,
                name,
                support,
                taken,
                ratio(right, taken),
                ratio(right, support),
                ratio(2 * right, support + taken),
                average_precision(labels, scores),
                best_threshold,
                best_f1,
            )
        )
    return rows


def micro_means(found: LabelSets, threshold: float | Sequence[float]) -> dict[str, float]:
    """Return `precision`, `recall` and `f1` of all decisions together; 0 where undefined."""
    given = decided(found.scores, threshold)
    right, taken, support = (given & found.labels).sum(), given.sum(), found.labels.sum()
    return {
        "precision": float(right / max(taken, 1)),
        "recall": float(right / max(support, 1)),
        "f1": float(2 * right / max(taken + support, 1)),
    }
