"""What a model answered to the images of an evaluation: what metrics and reports are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Answers", "LabelSets"]


@dataclass(frozen=True)
class Answers:
    """What a model answered to N images of one class each; all arrays are (N,).

    Five numbers an image, whatever the number of classes: every table and picture of an evaluation
    is made from them, and the answers of several processes are put together exactly.

    Attributes:
        index: int64, the image's place in the data set.
        label: int64, its class.
        predicted: int64, the most probable class; -1 where the image could not be read.
        confidence: float32, the softmax probability of that.
        rank: int64, how many classes are more probable than `label`; of equal ones the lower first.
        surprise: float32, -log of the softmax probability of `label`, in nats.
    """

    index: np.ndarray
    label: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    rank: np.ndarray
    surprise: np.ndarray

    def topk(self, k: int) -> float:
        """Return the share of images whose class is among the k most probable ones."""
        return float((self.rank < k).mean())

    @property
    def wrong(self) -> np.ndarray:
        """Which images got another class than theirs, or none; bool (N,)."""
        return self.predicted != self.label

    @property
    def read(self) -> np.ndarray:
        """Which images could be read; bool (N,)."""
        return self.predicted >= 0


@dataclass(frozen=True)
class LabelSets:
    """What a model answered to N images with any number of the C labels each.

    Attributes:
        index: int64 (N,), the image's place in the data set.
        labels: bool (N, C), which labels it has.
        scores: float32 (N, C), the sigmoid of the logits; 0 where the image could not be read.
            Average precision needs them all: 4 bytes for each image and class.
        read: bool (N,), which images could be read.
    """

    index: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    read: np.ndarray
