"""What is counted: sums over a training epoch, and every answer of an evaluation.

Both are exact for any batch sizes, and nothing here waits for the device before it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ppcls.engine.distributed import sum_over_ranks

__all__ = ["AnswerLog", "Answers", "Totals", "clip_topk"]


def clip_topk(topk: Sequence[int], class_num: int) -> list[int]:
    """Limit each k to the number of classes; a k that becomes equal to another is left out."""
    return sorted({min(k, class_num) for k in topk})


class Totals:
    """Sums of the loss and of top-k hits, kept on the device until they are asked for."""

    def __init__(self, topk: Sequence[int]):
        self.topk = list(topk)
        self.count = 0
        self._sums: Tensor | None = None

    @paddle.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: int64 (N,); soft targets, float32 (N, C), only where no top-k is counted.
        """
        count = labels.shape[0]
        parts = [loss.astype("float64") * count]
        if self.topk:
            best = paddle.topk(logits, max(self.topk), axis=1)[1]
            hit = (best == labels.unsqueeze(1)).astype("float64")
            parts += [hit[:, :k].sum() for k in self.topk]
        sums = paddle.stack(parts)
        self._sums = sums if self._sums is None else self._sums + sums
        self.count += count

    def state_dict(self) -> dict[str, Any]:
        """Return the sums over all processes as plain numbers; waits for the device."""
        own = np.zeros(1 + len(self.topk)) if self._sums is None else self._sums.numpy()
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
        names = ["loss", *(f"top{k}" for k in self.topk)]
        return {n: s / state["count"] for n, s in zip(names, state["sums"], strict=True)}


@dataclass(frozen=True)
class Answers:
    """What a model answered to N images of one class each; all arrays are (N,).

    Five numbers an image, whatever the number of classes: every table and picture of an evaluation
    is made from them, and the answers of several processes are put together exactly.

    Attributes:
        index: int64, the image's place in the data set.
        label: int64, its class.
        predicted: int64, the most probable class.
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
        """Which images got another class than theirs, bool (N,)."""
        return self.predicted != self.label


class AnswerLog:
    """Collects losses and answers batch by batch, on the device."""

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
        self._integers.append(
            paddle.stack(
                [
                    paddle.to_tensor(indices),
                    labels,
                    predicted.squeeze(1),
                    ahead.astype("int64").sum(1),
                ]
            )
        )
        confidence = paddle.take_along_axis(log_p, predicted, 1).exp()
        surprise = -paddle.take_along_axis(log_p, classes, 1)
        self._floats.append(paddle.concat([confidence, surprise], 1).t())
        self._losses.append((loss.astype("float64"), len(indices)))

    def loss_sum(self) -> float:
        """Return the sum over images of the loss. Waits for the device."""
        return math.fsum(float(loss.numpy()) * count for loss, count in self._losses)

    def answers(self) -> Answers:
        """Return what was collected. Waits for the device."""
        index, label, predicted, rank = paddle.concat(self._integers, 1).numpy()
        confidence, surprise = paddle.concat(self._floats, 1).numpy()
        return Answers(index, label, predicted, confidence, rank, surprise)
