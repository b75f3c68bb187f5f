"""What is counted: sums over a training epoch, and every answer of an evaluation.

Both are exact for any batch sizes, and nothing here waits for the device before it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.distributed import sum_over_ranks
from ppcls.metrics.options import AccuracyScore, HammingDistance

__all__ = ["AnswerLog", "Answers", "LabelSetLog", "LabelSets", "Totals", "clip_topk", "joined"]


def clip_topk(topk: Sequence[int], class_num: int) -> list[int]:
    """Limit each k to the number of classes; a k that becomes equal to another is left out."""
    return sorted({min(k, class_num) for k in topk})


class Totals:
    """Sums of the loss and of what is right, kept on the device until they are asked for.

    Args:
        topk: the ks of the top-k hits to count, of images with one class.
        decisions: the metrics to count, of images with several labels.
    """

    def __init__(
        self, topk: Sequence[int], decisions: Sequence[AccuracyScore | HammingDistance] = ()
    ):
        self.topk = list(topk)
        self.decisions = list(decisions)
        self.count = 0
        self._sums: Tensor | None = None

    @paddle.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: int64 (N,), or 0 and 1 for each class, float32 (N, C); soft targets only where
                nothing but the loss is counted.
        """
        count = labels.shape[0]
        parts = [loss.astype("float64") * count]
        if self.topk:
            best = paddle.topk(logits, max(self.topk), axis=1)[1]
            hit = (best == labels.unsqueeze(1)).astype("float64")
            parts += [hit[:, :k].sum() for k in self.topk]
        for metric in self.decisions:
            right = (F.sigmoid(logits) > metric.threshold) == (labels > 0.5)
            if isinstance(metric, HammingDistance):
                right = ~right
            whole = isinstance(metric, AccuracyScore) and metric.base == "sample"
            per_image = right.all(1) if whole else right.astype("float64").mean(1)
            parts.append(per_image.astype("float64").sum())
        sums = paddle.stack(parts)
        self._sums = sums if self._sums is None else self._sums + sums
        self.count += count

    def state_dict(self) -> dict[str, Any]:
        """Return the sums over all processes as plain numbers; waits for the device."""
        own = (
            np.zeros(1 + len(self.topk) + len(self.decisions))
            if self._sums is None
            else self._sums.numpy()
        )
        count, *sums = sum_over_ranks(np.array([self.count, *own], np.float64)).tolist()
        return {"count": int(count), "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums that `state_dict` returned."""
        self.count = state["count"]
        self._sums = paddle.to_tensor(state["sums"], "float64")

    def means(self) -> dict[str, float]:
        """Return the mean loss and the share of top-k hits: `loss`, `top1`, …

        They are of all processes together. Waits for the device.

        Raises:
            ValueError: nothing was added.
        """
        state = self.state_dict()
        if not state["count"]:
            raise ValueError("no batch was added")
        names = ["loss", *(f"top{k}" for k in self.topk), *(m.key for m in self.decisions)]
        return {n: s / state["count"] for n, s in zip(names, state["sums"], strict=True)}


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


_UNREAD = np.iinfo(np.int64).max


def _loss_sums(losses: Sequence[tuple[Tensor, int]]) -> list[float]:
    return [float(loss.numpy()) * count for loss, count in losses]


def joined(parts: Sequence[Answers | LabelSets]) -> Answers | LabelSets:
    """Put answers to different images together, in the order of the data set."""
    order = np.argsort(np.concatenate([part.index for part in parts]), kind="stable")
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])[order]
        for field in fields(parts[0])
    }
    return type(parts[0])(**arrays)


class AnswerLog:
    """Collects losses and answers batch by batch, on the device: images of one class each."""

    def __init__(self) -> None:
        self._losses: list[tuple[Tensor, int]] = []
        self._integers: list[Tensor] = []
        self._floats: list[Tensor] = []

    @paddle.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, indices: np.ndarray) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: int64 (N,).
            indices: int64 (N,), the images' places in the data set.
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
        """Add images that could not be read: wrong for every k, and in no loss.

        Args:
            labels: int64 (N,).
            indices: int64 (N,).
        """
        integers = [indices, labels, np.full(len(labels), -1), np.full(len(labels), _UNREAD)]
        floats = [np.zeros(len(labels), np.float32), np.full(len(labels), np.inf, np.float32)]
        self._integers.append(paddle.to_tensor(np.stack(integers)))
        self._floats.append(paddle.to_tensor(np.stack(floats)))

    def collected(self) -> tuple[list[float], Answers] | None:
        """Return the loss summed over each batch, and the answers; None where nothing was added.

        Waits for the device.
        """
        if not self._integers:
            return None
        index, label, predicted, rank = paddle.concat(self._integers, 1).numpy()
        confidence, surprise = paddle.concat(self._floats, 1).numpy()
        answers = Answers(index, label, predicted, confidence, rank, surprise)
        return _loss_sums(self._losses), answers


class LabelSetLog:
    """Collects losses and scores batch by batch: images with any number of labels."""

    def __init__(self) -> None:
        self._losses: list[tuple[Tensor, int]] = []
        self._scores: list[Tensor] = []
        self._labels: list[np.ndarray] = []
        self._indices: list[np.ndarray] = []
        self._read: list[bool] = []

    @paddle.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, indices: np.ndarray) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: float32 (N, C), 0 or 1.
            indices: int64 (N,), the images' places in the data set.
        """
        self._scores.append(F.sigmoid(logits.astype("float32")))
        self._keep(labels.numpy(), indices, read=True)
        self._losses.append((loss.astype("float64"), len(indices)))

    def add_unread(self, labels: np.ndarray, indices: np.ndarray) -> None:
        """Add images that could not be read, float32 (N, C) and int64 (N,): no label is found."""
        self._scores.append(paddle.zeros(labels.shape))
        self._keep(labels, indices, read=False)

    def _keep(self, labels: np.ndarray, indices: np.ndarray, read: bool) -> None:
        self._labels.append(labels > 0.5)
        self._indices.append(indices)
        self._read += [read] * len(indices)

    def collected(self) -> tuple[list[float], LabelSets] | None:
        """Return the loss summed over each batch, and the scores; None where nothing was added.

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
