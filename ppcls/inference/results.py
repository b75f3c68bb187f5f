"""What a prediction answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Result", "best_classes"]


@dataclass(frozen=True)
class Result:
    """The answer for one input.

    Attributes:
        source: the input's path, or what stands for it.
        class_ids: the best classes, best first.
        scores: their softmax probabilities.
        label_names: their names.
        error: why there is no answer; None where there is one.
    """

    source: str
    class_ids: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    label_names: list[str] = field(default_factory=list)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record that is written out; its keys are PaddleClas's, and `error`."""
        return {
            "filename": self.source,
            "class_ids": self.class_ids,
            "scores": [round(score, 5) for score in self.scores],
            "label_names": self.label_names,
            "error": self.error,
        }


def best_classes(logits: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids and softmax probabilities (N, topk) of the highest logits (N, C), best first.

    Of equal logits the lower id comes first.
    """
    shifted = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :topk]
    return ids, np.take_along_axis(probabilities, ids, axis=1)
