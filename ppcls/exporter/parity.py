"""The proof of an export: the same logits from the model and from what was made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ppcls.errors import RunError

__all__ = ["TOLERANCE", "Difference", "compare_logits", "compute", "log_probabilities"]

TOLERANCE = 1e-4
"""Largest difference allowed between two logits, in standard deviations of the logits."""

# Below this a float32 probability says nothing about its logit.
_LEAST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class Difference:
    """How the logits of a graph compare with those of the model it was made from.

    Attributes:
        largest: difference of two logits, in standard deviations of the model's.
        worst: index of the image that has it.
        changed: number of images whose best class is another one.
    """

    largest: float
    worst: int
    changed: int

    def require(self, names: Sequence[str], graph: str) -> float:
        """Return the largest difference.

        Args:
            names: what to call each image in an error.
            graph: what to call the graph in an error.

        Raises:
            RunError: it exceeds `TOLERANCE`, or an image's best class differs; the worst is named.
        """
        # Not `>=`: a difference that is no number must not pass.
        if not self.largest < TOLERANCE or self.changed:
            raise RunError(
                f"{graph} answers differently from the model, so nothing is exported: largest "
                f"difference {self.largest:.2e} standard deviations of the logits (allowed "
                f"{TOLERANCE:.0e}) on {names[self.worst]}; another best class for {self.changed} "
                f"of {len(names)} images"
            )
        return self.largest


def compute(
    run: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray, batch_size: int, what: str
) -> np.ndarray:
    """Return what a network answers to all inputs (N, ...), `batch_size` at a time: (N, C)."""
    starts = tqdm(range(0, len(inputs), batch_size), what, leave=False, disable=None)
    return np.concatenate([run(inputs[i : i + batch_size]) for i in starts])


def log_probabilities(answers: np.ndarray, *, softmax: bool) -> np.ndarray:
    """Return the logarithm of the probabilities (N, C), as far as float32 tells them.

    Args:
        answers: logits, or with `softmax` probabilities.
        softmax: what they are.
    """
    answers = answers.astype(np.float64)
    if not softmax:
        answers = np.exp(answers - answers.max(axis=1, keepdims=True))
        answers /= answers.sum(axis=1, keepdims=True)
    return np.log(np.maximum(answers, _LEAST_PROBABILITY))


def compare_logits(expected: np.ndarray, found: np.ndarray, std: float | None = None) -> Difference:
    """Compare the logits (N, C) of a model with those of what was made of it.

    Args:
        expected: what the model answers.
        found: what its export answers to the same images.
        std: standard deviation of the logits; None is that of `expected`.
    """
    # A model that answers the same to everything has no spread to measure by.
    difference = np.abs(found - expected).max(axis=1) / (std or expected.std() or 1.0)
    # The position of a difference that is no number, where there is one.
    worst = int(difference.argmax())
    changed = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    return Difference(float(difference[worst]), worst, changed)
