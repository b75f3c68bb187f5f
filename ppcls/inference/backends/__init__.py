"""What runs a network: each backend is a small class with one method."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["Backend"]


class Backend(Protocol):
    """Runs one network."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map normalised images, float32 (N, 3, H, W), to logits, float32 (N, C)."""
        ...
