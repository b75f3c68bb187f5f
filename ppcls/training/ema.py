"""The moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """An exponential moving average of parameters and buffers, kept in float32.

    After every update: average = decay * average + (1 - decay) * weights. The average starts as a
    copy of the model's weights.

    Args:
        model: the model to average.
        decay: the share of the average to keep, in [0, 1).
    """

    def __init__(self, model: nn.Layer, decay: float):
        self.decay = decay
        self._current = model.state_dict()
        self.average = {k: v.astype("float32").clone() for k, v in self._current.items()}

    @paddle.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        for key, value in self._current.items():
            self.average[key].lerp_(value.astype("float32"), 1 - self.decay)

    @paddle.no_grad()
    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the average: float arrays by structured name, in the shapes of the parameters."""
        for key, average in self.average.items():
            average.set_value(arrays[key].astype(np.float32))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights within the context."""
        with paddle.no_grad():
            raw = {key: value.clone() for key, value in self._current.items()}
            self._assign(self.average)
        try:
            yield
        finally:
            with paddle.no_grad():
                self._assign(raw)

    def _assign(self, weights: dict[str, paddle.Tensor]) -> None:
        for key, value in self._current.items():
            paddle.assign(weights[key].astype(value.dtype), value)
