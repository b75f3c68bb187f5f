"""Collects the predictions of an evaluation on the device until they are read.

The results are exact for any batch sizes. Only reading them waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.metrics.answers import Answers, LabelSets

__all__ = ["AnswerLog", "LabelSetLog", "joined"]

_UNREAD = np.iinfo(np.int64).max


def _loss_sums(losses: Sequence[tuple[Tensor, int]]) -> list[float]:
    return [float(loss.numpy()) * count for loss, count in losses]


def joined(parts: Sequence[Answers | LabelSets]) -> Answers | LabelSets:
    """Merge the predictions of several parts of a data set, in the order of the data set."""
    order = np.argsort(np.concatenate([part.index for part in parts]), kind="stable")
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])[order]
        for field in fields(parts[0])
    }
    return type(parts[0])(**arrays)


class AnswerLog:
    """Collects losses and predictions batch by batch on the device, for single-label images."""

    def __init__(self) -> None:
        self._losses: list[tuple[Tensor, int]] = []
        self._integers: list[Tensor] = []
        self._floats: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, indices: np.ndarray) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: int64 (N,).
            indices: int64 (N,), the indices of the images in the data set.
        """
        classes = labels.unsqueeze(1)
        log_p = F.log_softmax(logits.astype("float32"), axis=1)
        own = paddle.take_along_axis(logits, classes, 1)
        before = paddle.arange(logits.shape[1]).unsqueeze(0) < classes
        ahead = (logits > own) | ((logits == own) & before)
        predicted = logits.argmax(1, keepdim=True)
        rank = ahead.astype("int64").sum(1)
        self._integers.append(
            paddle.stack([paddle.to_tensor(indices), labels, predicted.squeeze(1), rank])
        )
        confidence = paddle.take_along_axis(log_p, predicted, 1).exp()
        surprise = -paddle.take_along_axis(log_p, classes, 1)
        self._floats.append(paddle.concat([confidence, surprise], 1).t())
        self._losses.append((loss.astype("float64"), len(indices)))

    def add_unread(self, labels: np.ndarray, indices: np.ndarray) -> None:
        """Add unreadable images: wrong for every k, and not part of the loss.

        Args:
            labels: int64 (N,).
            indices: int64 (N,).
        """
        integers = [indices, labels, np.full(len(labels), -1), np.full(len(labels), _UNREAD)]
        floats = [np.zeros(len(labels), np.float32), np.full(len(labels), np.inf, np.float32)]
        self._integers.append(paddle.to_tensor(np.stack(integers)))
        self._floats.append(paddle.to_tensor(np.stack(floats)))

    def collected(self) -> tuple[list[float], Answers] | None:
        """Return the loss summed over each batch, and the predictions; None without any batch.

        Waits for the device.
        """
        if not self._integers:
            return None
        index, label, predicted, rank = paddle.concat(self._integers, 1).numpy()
        confidence, surprise = paddle.concat(self._floats, 1).numpy()
        answers = Answers(index, label, predicted, confidence, rank, surprise)
        return _loss_sums(self._losses), answers


class LabelSetLog:
    """Collects losses and scores batch by batch, for multi-label images."""

    def __init__(self) -> None:
        self._losses: list[tuple[Tensor, int]] = []
        self._scores: list[Tensor] = []
        self._labels: list[np.ndarray] = []
        self._indices: list[np.ndarray] = []
        self._read: list[bool] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, indices: np.ndarray) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: float32 (N, C), 0 or 1.
            indices: int64 (N,), the indices of the images in the data set.
        """
        self._scores.append(F.sigmoid(logits.astype("float32")))
        self._keep(labels.numpy(), indices, read=True)
        self._losses.append((loss.astype("float64"), len(indices)))

    def add_unread(self, labels: np.ndarray, indices: np.ndarray) -> None:
        """Add unreadable images, float32 (N, C) and int64 (N,), without any predicted label."""
        self._scores.append(paddle.zeros(labels.shape))
        self._keep(labels, indices, read=False)

    def _keep(self, labels: np.ndarray, indices: np.ndarray, read: bool) -> None:
        self._labels.append(labels > 0.5)
        self._indices.append(indices)
        self._read += [read] * len(indices)

    def collected(self) -> tuple[list[float], LabelSets] | None:
        """Return the loss summed over each batch, and the scores; None without any batch.

        Waits for the device.
        """
        if not self._indices:
            return None
        answers = LabelSets(
            np.concatenate(self._indices),
            np.concatenate(self._labels),
            paddle.concat(self._scores).numpy(),
            np.array(self._read),
        )
        return _loss_sums(self._losses), answers
