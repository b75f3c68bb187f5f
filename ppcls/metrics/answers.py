"""The predictions of an evaluation, from which metrics and reports are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Answers", "LabelSets"]


@dataclass(frozen=True)
class Answers:
    """The predictions for N single-label images; all arrays are (N,).

    An evaluation keeps a few numbers per image, whatever the number of classes. All its tables and
    plots are made from them, and the predictions of several processes are merged exactly.

    Attributes:
        index: int64, the image's index in the data set.
        label: int64, its class.
        predicted: int64, the most probable class; -1 if the image could not be read.
        confidence: float32, the softmax probability of the predicted class.
        rank: int64, how many classes are more probable than `label`; of equally probable classes,
            the lower one ranks first.
        surprise: float32, the negative log-likelihood of `label` after softmax, in nats.
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
        """Whether each image got a wrong prediction or none; bool (N,)."""
        return self.predicted != self.label

    @property
    def read(self) -> np.ndarray:
        """Whether each image could be read; bool (N,)."""
        return self.predicted >= 0


@dataclass(frozen=True)
class LabelSets:
    """The predictions for N multi-label images with C labels.

    Attributes:
        index: int64 (N,), the image's index in the data set.
        labels: bool (N, C), whether it has each label.
        scores: float32 (N, C), the sigmoid of the logits; 0 if the image could not be read.
            Average precision needs all of them: 4 bytes for each image and class.
        read: bool (N,), whether the image could be read.
    """

    index: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    read: np.ndarray
