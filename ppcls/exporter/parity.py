"""The proof of an export: the same logits from the model and from what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppcls.errors import RunError
from ppcls.inference.backends import Backend

__all__ = ["TOLERANCE", "check_parity", "compute_logits"]

TOLERANCE = 1e-4
"""Largest difference allowed between two logits, in standard deviations of the logits."""


def compute_logits(backend: Backend, batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Map normalised images, float32 (N, 3, H, W), to logits (N, C), `batch_size` at a time."""
    parts = range(0, len(batch), batch_size)
    return np.concatenate([backend.run(batch[i : i + batch_size]) for i in parts])


def check_parity(expected: np.ndarray, found: np.ndarray, names: Sequence[str]) -> float:
    """Compare the logits (N, C) of a model with those of what was made of it.

    Args:
        expected: what the model answers.
        found: what its export answers to the same images.
        names: what to call each image in an error.

    Returns:
        The largest difference of two logits, in standard deviations of the expected ones.

    Raises:
        RunError: it exceeds `TOLERANCE`, or an image's best class differs; the worst is named.
    """
    # A model that answers the same to everything has no spread to measure by.
    difference = np.abs(found - expected).max(axis=1) / (expected.std() or 1.0)
    worst = int(difference.argmax())
    changed = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    if not difference[worst] < TOLERANCE or changed:
        raise RunError(
            f"the exported graph answers differently from the model, so nothing is exported: "
            f"largest difference {difference[worst]:.2e} standard deviations of the logits "
            f"(allowed {TOLERANCE:.0e}) on {names[worst]}; another best class for "
            f"{changed} of {len(names)} images"
        )
    return float(difference[worst])
