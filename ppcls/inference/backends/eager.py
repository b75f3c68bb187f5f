"""A model as it is, without export."""

from __future__ import annotations

import numpy as np

from ppcls.errors import require_paddle

require_paddle()

import paddle  # noqa: E402
from paddle import nn  # noqa: E402

__all__ = ["EagerBackend"]


class EagerBackend:
    """Runs a model in evaluation mode."""

    def __init__(self, model: nn.Layer):
        model.eval()
        self._model = model

    @paddle.no_grad()
    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map normalised images, float32 (N, 3, H, W), to logits, float32 (N, C)."""
        return self._model(paddle.to_tensor(batch)).numpy()
