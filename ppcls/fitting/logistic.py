"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.

Several problems on the same samples, such as the folds of a cross-validation, are solved as one:
their products with the features are a single matrix product, which takes little longer than one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["STRENGTHS", "Basis", "Linear", "class_weights", "solve"]

STRENGTHS = tuple(10.0 ** (-i / 2) for i in range(9))
"""The strengths of the penalty to try, strongest first: 1 to 1e-4."""

_MEMORY, _CONSTANT, _NOTHING = 10, 1e-6, 1e-12


@dataclass(frozen=True)
class Basis:
    """Standardised features along their principal axes, of which there are R.

    The axes leave the penalised problem as it is; along them its curvature is nearly known, which
    saves most steps of the optimisation.

    Attributes:
        mean: float64 (D,).
        std: float64 (D,), 1 for a constant feature.
        axes: float64 (D, R), orthonormal columns.
        variances: float64 (R,), of the standardised features along each axis.
    """

    mean: np.ndarray
    std: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Basis:
        """Return the basis of features, float (N, D)."""
        values = values.astype(np.float64)
        mean, std = values.mean(axis=0), values.std(axis=0)
        std = np.where(std > _CONSTANT * max(float(std.max()), np.finfo(float).tiny), std, 1.0)
        values = (values - mean) / std
        count, width = values.shape
        if count < width:
            variances, axes = np.linalg.eigh(values @ values.T / count)
            kept = variances > max(_CONSTANT * float(variances[-1]), _NOTHING)
            axes = values.T @ (axes[:, kept] / np.sqrt(variances[kept] * count))
        else:
            variances, axes = np.linalg.eigh(values.T @ values / count)
            kept = variances > max(_CONSTANT * float(variances[-1]), _NOTHING)
            axes = axes[:, kept]
        return cls(mean, std, axes, variances[kept])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the coordinates of features, float (N, D), as float32 (N, R)."""
        return (((values - self.mean) / self.std) @ self.axes).astype(np.float32)


@dataclass(frozen=True)
class Linear:
    """A linear classifier: logits are `features @ weight + bias`.

    Attributes:
        weight: float64 (D, C).
        bias: float64 (C,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Map features, float (N, D), to logits, float64 (N, C)."""
        return values @ self.weight + self.bias

    def folded(self, basis: Basis) -> Linear:
        """Return the classifier of the features themselves, with their basis folded in."""
        weight = basis.axes @ self.weight / basis.std[:, None]
        return Linear(weight, self.bias - basis.mean @ weight)


def class_weights(labels: np.ndarray, class_num: int) -> np.ndarray:
    """Return a weight for each sample, float (N,), that gives all classes the same total."""
    counts = np.bincount(labels, minlength=class_num)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]


def solve(
    values: np.ndarray,
    variances: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    class_num: int,
    strength: float,
    start: Sequence[Linear] | None = None,
    tolerance: float = 1e-3,
    steps: int = 300,
) -> list[Linear]:
    """Fit K classifiers on the same samples with different weights.

    Each minimises its weighted mean cross-entropy plus `strength / 2` times the squared length of
    its weights; biases are not penalised.

    Args:
        values: features in a basis, float32 (N, R).
        variances: of the basis, float64 (R,).
        labels: classes, int (N,).
        weights: float (N, K); 0 leaves a sample out of a problem.
        class_num: number of classes C.
        strength: strength of the penalty.
        start: classifiers to begin with, such as those for another strength.
        tolerance: the length of the gradient at which to end, relative to that at zero.
        steps: the most steps of L-BFGS.
    """
    count, width = values.shape
    problems = weights.shape[1]
    rows, shape = np.arange(count), (width + 1, problems, class_num)
    share = (weights / weights.sum(axis=0)).astype(np.float32)
    # Bohning's bound of the curvature: in these units it is about 1 in every direction. The last
    # unit is that of the bias, whose feature is a column of ones.
    units = np.append(1 / np.sqrt(variances / 2 + strength), np.sqrt(2.0))
    penalty = (np.append(np.full(width, strength), 0.0) * units**2)[:, None, None]
    values = np.append(values, np.ones((count, 1), np.float32), axis=1) * units.astype(np.float32)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = flat.reshape(shape)
        logits = values @ at.reshape(width + 1, -1).astype(np.float32)
        logits = logits.reshape(count, problems, class_num)
        logits -= logits.max(axis=2, keepdims=True)
        own = logits[rows, :, labels]
        residual = np.exp(logits, out=logits)
        totals = residual.sum(axis=2)
        loss = (share * (np.log(totals) - own)).sum(dtype=np.float64)
        residual /= totals[:, :, None]
        residual[rows, :, labels] -= 1
        residual *= share[:, :, None]
        gradient = (values.T @ residual.reshape(count, -1)).astype(np.float64).reshape(shape)
        gradient += penalty * at
        return float(loss) + float((penalty * at**2).sum()) / 2, gradient.ravel()

    flat = np.zeros(shape)
    first = objective(flat.ravel())[1]
    scale = _dot(first, first) ** 0.5
    if start is not None:
        for k, linear in enumerate(start):
            flat[:, k] = np.append(linear.weight, linear.bias[None], axis=0) / units[:, None]
    found = _minimise(objective, flat.ravel(), tolerance * scale, steps).reshape(shape)
    found *= units[:, None, None]
    return [Linear(found[:-1, k], found[-1, k]) for k in range(problems)]


def _minimise(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    at: np.ndarray,
    tolerance: float,
    steps: int,
) -> np.ndarray:
    """Minimise a smooth convex function by L-BFGS (Nocedal and Wright, algorithm 7.5).

    Args:
        objective: returns the value and the gradient, float64 (P,), of a point.
        at: the first point, float64 (P,).
        tolerance: the length of the gradient at which to end.
        steps: the most steps.
    """
    value, gradient = objective(at)
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=_MEMORY)
    for _ in range(steps):
        if _dot(gradient, gradient) <= tolerance**2:
            break
        direction = -_inverse_hessian(pairs, gradient)
        slope = _dot(direction, gradient)
        length = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        for _ in range(30):
            moved = at + length * direction
            new_value, new_gradient = objective(moved)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break  # rounding leaves nothing to gain
        change, turn = moved - at, new_gradient - gradient
        curvature = _dot(change, turn)
        if curvature > 1e-12 * _dot(turn, turn):
            pairs.append((change, turn, curvature))
        at, value, gradient = moved, new_value, new_gradient
    return at


def _inverse_hessian(
    pairs: Sequence[tuple[np.ndarray, np.ndarray, float]], gradient: np.ndarray
) -> np.ndarray:
    """Multiply a gradient by the inverse Hessian that the last steps suggest."""
    product = gradient.copy()
    factors = []
    for change, turn, curvature in reversed(pairs):
        factor = _dot(change, product) / curvature
        product -= factor * turn
        factors.append(factor)
    if pairs:
        _, turn, curvature = pairs[-1]
        product *= curvature / _dot(turn, turn)
    for (change, turn, curvature), factor in zip(pairs, reversed(factors), strict=True):
        product += change * (factor - _dot(turn, product) / curvature)
    return product


def _dot(first: np.ndarray, second: np.ndarray) -> float:
    """Return the inner product of vectors, without the threads of `@`, which cost more here."""
    return float(np.einsum("i,i->", first, second))
