"""Sums over a training epoch, exact for any batch sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

from ppcls.checkpoints.records import Sums
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

    def sums(self) -> Sums:
        """Return the sums over all processes as plain numbers; waits for the device."""
        none = np.zeros(1 + len(self.metrics))
        own = none if self._sums is None else self._sums.numpy()
        count, *sums = sum_over_ranks(np.array([self.count, *own], np.float64)).tolist()
        return Sums.model_construct(count=int(count), sums=sums)

    def load(self, sums: Sums) -> None:
        """Restore the sums, one for the loss and for each metric."""
        self.count = sums.count
        self._sums = paddle.to_tensor(sums.sums, "float64")

    def means(self) -> dict[str, float]:
        """Return the means of the loss and of the metrics by key: `loss`, `top1`, …

        The means are over all processes. Waits for the device.

        Raises:
            ValueError: no batch was added.
        """
        found = self.sums()
        if not found.count:
            raise ValueError("no batch was added")
        names = ["loss", *(metric.key for metric in self.metrics)]
        return {n: s / found.count for n, s in zip(names, found.sums, strict=True)}
