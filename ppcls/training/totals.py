"""Sums over a training epoch, exact for any batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppcls.distributed import sum_over_ranks
from ppcls.metrics.base import Metric

__all__ = ["Totals"]


class Totals:
    """Sums of the loss and of metrics, kept on the device until they are needed.

    Args:
        metrics: single-valued metrics to sum over batches (see `parts_of`).
    """

    def __init__(self, metrics: Sequence[Metric] = ()):
        self.metrics = list(metrics)
        self.count = 0
        self._sums: Tensor | None = None

    @paddle.no_grad()
    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean loss, a scalar.
            logits: float32 (N, C).
            labels: int64 (N,), or float32 (N, C) with 0 or 1 for each class; soft targets only
                without metrics.
        """
        count = labels.shape[0]
        parts = [loss.astype("float64") * count]
        parts += [metric.per_image(logits, labels).sum() for metric in self.metrics]
        sums = paddle.stack(parts)
        self._sums = sums if self._sums is None else self._sums + sums
        self.count += count

    def state_dict(self) -> dict[str, Any]:
        """Return the sums over all processes as plain numbers; waits for the device."""
        none = np.zeros(1 + len(self.metrics))
        own = none if self._sums is None else self._sums.numpy()
        count, *sums = sum_over_ranks(np.array([self.count, *own], np.float64)).tolist()
        return {"count": int(count), "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums from `state_dict`."""
        self.count = state["count"]
        self._sums = paddle.to_tensor(state["sums"], "float64")

    def means(self) -> dict[str, float]:
        """Return the means of the loss and of the metrics by key: `loss`, `top1`, …

        The means are over all processes. Waits for the device.

        Raises:
            ValueError: no batch was added.
        """
        state = self.state_dict()
        if not state["count"]:
            raise ValueError("no batch was added")
        names = ["loss", *(metric.key for metric in self.metrics)]
        return {n: s / state["count"] for n, s in zip(names, state["sums"], strict=True)}
