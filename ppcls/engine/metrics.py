"""Metrics as sums over samples, so that they are exact for any batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import Tensor

__all__ = ["Totals", "clip_topk"]


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
        """Return the sums as plain numbers; waits for the device."""
        return {"count": self.count, "sums": [] if self._sums is None else self._sums.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums that `state_dict` returned."""
        self.count = state["count"]
        self._sums = paddle.to_tensor(state["sums"], "float64") if state["sums"] else None

    def means(self) -> dict[str, float]:
        """Return the mean loss and the share of top-k hits: `loss`, `top1`, … Waits for the device.

        Raises:
            ValueError: nothing was added.
        """
        if self._sums is None:
            raise ValueError("no batch was added")
        names = ["loss", *(f"top{k}" for k in self.topk)]
        means = self._sums.numpy() / self.count
        return dict(zip(names, means.tolist(), strict=True))
