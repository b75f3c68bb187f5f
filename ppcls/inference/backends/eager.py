"""The eager backend: a model without export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from paddle import nn

__all__ = ["EagerBackend"]


class EagerBackend:
    """Runs a model in evaluation mode."""

    def __init__(self, model: nn.Layer):
        model.eval()
        self._model = model

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map normalised images, float32 (N, 3, H, W), to logits, float32 (N, C)."""
        import paddle

        with paddle.no_grad():
            return self._model(paddle.to_tensor(batch)).numpy()
