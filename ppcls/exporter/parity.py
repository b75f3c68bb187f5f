"""The proof of an export: the same logits from the model and from what was made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppcls.errors import RunError
from ppcls.inference.backends import Backend

__all__ = ["TOLERANCE", "check_parity"]

TOLERANCE = 1e-4
"""Largest difference allowed between two logits, in standard deviations of the logits."""


def check_parity(
    reference: Backend, exported: Backend, batch: np.ndarray, names: Sequence[str], batch_size: int
) -> float:
    """Compare two backends on the same input and return their largest difference.

    Args:
        reference, exported: what is compared.
        batch: normalised images, float32 (N, 3, H, W).
        names: what to call each image in an error.
        batch_size: images that are computed at once.

    Returns:
        The largest difference of two logits, in standard deviations of the reference's logits.

    Raises:
        RunError: it exceeds `TOLERANCE`, or an image's best class differs; the worst is named.
    """
    parts = [batch[i : i + batch_size] for i in range(0, len(batch), batch_size)]
    expected = np.concatenate([reference.run(part) for part in parts])
    found = np.concatenate([exported.run(part) for part in parts])
    # A model that answers the same to everything has no spread to measure by.
    difference = np.abs(found - expected).max(axis=1) / (expected.std() or 1.0)
    worst = int(difference.argmax())
    changed = expected.argmax(axis=1) != found.argmax(axis=1)
    if not difference[worst] < TOLERANCE or changed.any():
        raise RunError(
            f"the exported graph answers differently from the model, so nothing is exported: "
            f"largest difference {difference[worst]:.2e} standard deviations of the logits "
            f"(allowed {TOLERANCE:.0e}) on {names[worst]}; another best class for "
            f"{int(changed.sum())} of {len(batch)} images"
        )
    return float(difference[worst])
