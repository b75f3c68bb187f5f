"""The results of predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["NOT_FINITE", "Result", "Timing", "best_classes", "sigmoid", "softmax"]


NOT_FINITE = (
    "the network's output is not finite: its weights are at fault, or the precision of the backend"
)
"""The error of an image that was read and has no prediction."""


class Timing(NamedTuple):
    """Times of a prediction in milliseconds, and the size of its batch.

    Attributes:
        preprocess_ms: reading, decoding and transforming this image.
        compute_ms: the network, for the whole batch.
        batch_size: images in that batch.
    """

    preprocess_ms: float
    compute_ms: float
    batch_size: int


@dataclass(frozen=True)
class Result:
    """The prediction for one input.

    Attributes:
        source: the input's path, or a description of it.
        class_ids: the best classes, best first; of a multi-label model those above their
            threshold, which may be none.
        scores: their softmax probabilities; of a multi-label model their sigmoids.
        label_names: their names.
        error: why there is no prediction; None if there is one.
        timing: times of the prediction, if requested.
        logits: the network's output, float32 (classes,), if requested.
        all_scores: the scores of all classes in their order, float (classes,), if requested.
        features: the pooled last feature map, float32 (C,), if requested.
    """

    source: str
    class_ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    label_names: list[str] = field(default_factory=list)
    error: str | None = None
    timing: Timing | None = None
    logits: np.ndarray | None = field(default=None, compare=False, repr=False)
    features: np.ndarray | None = field(default=None, compare=False, repr=False)
    all_scores: np.ndarray | None = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the record for output files; its keys are PaddleClas's, and `error`."""
        record: dict[str, Any] = {
            "filename": self.source,
            "class_ids": self.class_ids,
            "scores": [round(score, 5) for score in self.scores],
            "label_names": self.label_names,
            "error": self.error,
        }
        if self.timing:
            record |= {
                "preprocess_ms": round(self.timing.preprocess_ms, 3),
                "compute_ms": round(self.timing.compute_ms, 3),
                "batch_size": self.timing.batch_size,
            }
        return record


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, from float logits (..., C) over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the sigmoid, float64, of each of float logits (..., C)."""
    # Of a negative number only, so that nothing overflows.
    small = np.exp(-np.abs(logits, dtype=np.float64))
    return np.where(logits >= 0, 1, small) / (1 + small)


def best_classes(scores: np.ndarray, topk: int | None) -> np.ndarray:
    """Return the ids, int64 (..., topk), of the highest float scores (..., C), best first.

    Of equal scores the lower id comes first.
    """
    return (-scores).argsort(axis=-1, kind="stable")[..., :topk]
