"""Detects NaN and infinite losses and gradients, and names their batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from ppcls import distributed
from ppcls.data.lists import Sample
from ppcls.errors import RunError
from ppcls.training.freeze import statistics
from ppcls.training.state import TrainState

__all__ = ["LossWatch", "Place", "UpdateGuard"]


class Place(NamedTuple):
    """A place in a run: the epoch (from 1), its step (from 0), and the learning rate."""

    epoch: int
    step: int
    lr: float

    def __str__(self) -> str:
        return f"in epoch {self.epoch}, step {self.step} (learning rate {self.lr:g})"


def _files(samples: Sequence[Sample], indices: np.ndarray, limit: int | None = 3) -> str:
    names = [str(samples[i].path) for i in indices[:limit]]
    more = len(indices) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


class LossWatch:
    """Keeps the losses of the last steps on the device and checks them together.

    Steps therefore do not wait for the device. A non-finite loss is found at the next check, which
    still reports its own step and batch.
    """

    def __init__(self, samples: Sequence[Sample]):
        self._samples = samples
        self._seen: list[tuple[Place, Tensor, np.ndarray]] = []

    def add(self, place: Place, loss: Tensor, indices: np.ndarray) -> None:
        """Keep the loss of a batch, a float scalar, and its sample indices, int64 (N,)."""
        self._seen.append((place, loss.detach(), indices))

    def look(self) -> None:
        """Check the losses since the last call; waits for the device.

        Raises:
            RunError: a loss is not finite.
        """
        seen, self._seen = self._seen, []
        if not seen:
            return
        losses = paddle.stack([loss for _, loss, _ in seen]).numpy()
        for (place, _, indices), value in zip(seen, losses.tolist(), strict=True):
            if not math.isfinite(value):
                raise RunError(
                    f"the loss is {value} {place}, in the batch with "
                    f"{_files(self._samples, indices)} (seen at step {seen[-1][0].step}); usual "
                    "remedies: a lower Optimizer.lr.learning_rate, Optimizer.clip_norm, larger "
                    "images, or Global.on_nan=skip"
                )


class UpdateGuard:
    """Skips updates with a non-finite loss or gradient; each check waits for the device.

    Args:
        state: the state of the run. A bad batch has already changed the statistics of batch
            normalisation, so the guard saves and restores them.
        samples: the samples of the data set, to name files.
        limit: how many updates a run may skip.
    """

    def __init__(self, state: TrainState, samples: Sequence[Sample], limit: int):
        self._state, self._samples, self._limit = state, samples, limit
        self._parameters = [p for p in state.model.parameters() if not p.stop_gradient]
        self._keep()

    def _keep(self) -> None:
        self._statistics = [(s, s.clone()) for s in statistics(self._state.model)]

    @paddle.no_grad()
    def admits(self, place: Place, losses: Sequence[Tensor], indices: np.ndarray) -> str:
        """Return "" for a finite update; otherwise restore the statistics and return the reason.

        `losses` are float scalars, `indices` the samples, int64 (N,).

        Raises:
            RunError: the run has skipped more updates than its limit.
        """
        sums = [loss.detach().astype("float32") for loss in losses]
        # A scaler expects overflowing gradients and skips them itself.
        if self._state.precision.scaler is None:
            sums += [p.grad.abs().sum() for p in self._parameters if p.grad is not None]
        total = paddle.add_n([s.reshape([1]) for s in sums])
        bad = not bool(paddle.isfinite(total).item())
        if not distributed.any_rank(bad)[0]:
            self._keep()
            return ""
        for statistic, value in self._statistics:
            paddle.assign(value, statistic)
        self._state.progress.skipped += 1
        what = (
            f"a loss or gradient that is not finite {place}, in the batch with "
            f"{_files(self._samples, indices, None)}"
        )
        if self._state.progress.skipped > self._limit:
            raise RunError(
                f"{what}: more than the {self._limit} that Global.nan_limit lets a run skip"
            )
        return f"skipped ({self._state.progress.skipped} of {self._limit}): {what}"
