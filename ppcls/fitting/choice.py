"""Choices by cross-validation: the strength of the penalty and the views of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppcls.fitting.logistic import STRENGTHS, Basis, Linear, class_weights, solve

__all__ = [
    "Choice",
    "Curve",
    "Proportion",
    "Training",
    "choose",
    "cross_entropies",
    "fit_all",
    "folds_of",
    "learning_curve",
]

_FOLDS = 5
_DEFAULT_STRENGTH = 0.01
_MIDDLE = 2
_BETTER = 0.99
"""Below this ratio a cross-entropy counts as better; of equals, the simpler choice is kept."""
_CELLS = 50_000_000
"""Logits computed at a time, 4 bytes each."""

_FINAL_TOLERANCE, _CURVE_TOLERANCE, _TRIAL_TOLERANCE = 1e-4, 5e-4, 1e-3
"""Stopping early is a penalty, too, and more so with few images and a weak penalty."""

_SHARES = (1 / 8, 1 / 4, 1 / 2)


@dataclass(frozen=True)
class Proportion:
    """A share of images, with its 95 % confidence interval after Wilson (1927).

    Attributes:
        count: number of images that count.
        total: number of all images.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper bound, 0 to 1."""
        z = 1.959964
        n, p = self.total, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        bounds = f"{low:.3f} to {high:.3f}"
        return f"{self.value:.4f} (95 % interval {bounds}; {self.count} of {self.total})"


@dataclass(frozen=True)
class Training:
    """The training images.

    Attributes:
        values: by view, features float32 (N, D).
        labels: int64 (N,).
        folds: int64 (N,), the part of the cross-validation; all 0 if it is impossible.
        class_num: number of classes.
    """

    values: dict[int, np.ndarray]
    labels: np.ndarray
    folds: np.ndarray
    class_num: int

    @property
    def fold_count(self) -> int:
        """Number of parts of the cross-validation; 1 if it is impossible."""
        return int(self.folds.max()) + 1


@dataclass(frozen=True)
class Choice:
    """What the cross-validation chose.

    Attributes:
        views: the views of the training images.
        strength: the strength of the penalty.
        loss: the cross-validated mean cross-entropy; None if cross-validation is impossible.
        accuracy: the cross-validated accuracy; None likewise.
    """

    views: tuple[int, ...]
    strength: float
    loss: float | None = None
    accuracy: Proportion | None = None


@dataclass(frozen=True)
class Curve:
    """Cross-validated accuracies with fewer images, and what twice the images may bring.

    Attributes:
        counts: numbers of training images.
        accuracies: the accuracy with each, 0 to 1.
        expected_at: twice the number of training images.
        twice: the accuracy to expect with them, 0 to 1.
    """

    counts: list[int]
    accuracies: list[float]
    expected_at: int
    twice: float


def folds_of(labels: np.ndarray, groups: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return a part of the cross-validation for each image, int64 (N,).

    Copies of a picture are in one part, and each class is spread over all parts. All images are in
    part 0 if a class has a single picture.

    Args:
        labels: int64 (N,).
        groups: int64 (N,), the group of copies of each image.
        ordered: int64 (N,), the order in which images are assigned.
    """
    pictures = {(int(labels[i]), int(groups[i])) for i in ordered}
    fewest = np.bincount([label for label, _ in pictures])[np.unique(labels)].min()
    count = min(_FOLDS, int(fewest))
    folds = np.full(len(labels), -1, np.int64)
    if count < 2:
        return np.zeros(len(labels), np.int64)
    sizes = np.zeros((int(labels.max()) + 1, count), int)
    part: dict[int, int] = {}
    for i in ordered.tolist():
        label, group = int(labels[i]), int(groups[i])
        if group not in part:
            part[group] = int(sizes[label].argmin())
        folds[i] = part[group]
        sizes[label, folds[i]] += 1
    return folds


def _solved(
    basis: Basis,
    values: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    class_num: int,
    strength: float,
    start: Sequence[Linear] | None = None,
    tolerance: float = _TRIAL_TOLERANCE,
) -> list[Linear]:
    """Solve K problems, as many at a time as the memory is meant to hold."""
    at_once = max(1, _CELLS // (len(values) * class_num))
    found: list[Linear] = []
    for i in range(0, weights.shape[1], at_once):
        part = slice(i, i + at_once)
        begin = None if start is None else start[part]
        found += solve(
            values, basis.variances, labels, weights[:, part], class_num, strength, begin, tolerance
        )
    return found


def _out_of_fold(linears: Sequence[Linear], values: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return logits of each image by the classifier that has not seen it, float64 (N, C)."""
    logits = np.empty((len(values), len(linears[0].bias)))
    for fold, linear in enumerate(linears):
        logits[folds == fold] = linear(values[folds == fold])
    return logits


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the negative log-likelihood of each label, float64 (N,), from logits (N, C)."""
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return total - logits[np.arange(len(labels)), labels]


def _repeated(
    training: Training, views: Sequence[int]
) -> tuple[Basis, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return basis, features, labels, class weights and folds of all views, one below another."""
    raw = np.concatenate([training.values[view] for view in views])
    basis = Basis.of(raw)
    balance = class_weights(training.labels, training.class_num)
    times = len(views)
    labels, folds = np.tile(training.labels, times), np.tile(training.folds, times)
    return basis, basis(raw), labels, np.tile(balance, times), folds


def choose(training: Training, views: Sequence[tuple[int, ...]]) -> Choice:
    """Choose the views and the strength with the lowest cross-validated cross-entropy.

    A weaker penalty and more views have to lower it by a hundredth.

    Args:
        training: the training images.
        views: the sets of views to try; without cross-validation, the last one is taken.
    """
    count, labels = training.fold_count, training.labels
    if count < 2:
        return Choice(tuple(views[-1]), _DEFAULT_STRENGTH)
    best: Choice | None = None
    for tried in views:
        basis, values, repeated, balance, folds = _repeated(training, tried)
        weights = balance[:, None] * (folds[:, None] != np.arange(count))
        # From the middle to weaker penalties; then to stronger ones, if none of them helped.
        for strengths in (STRENGTHS[_MIDDLE:], STRENGTHS[_MIDDLE - 1 :: -1]):
            linears: list[Linear] | None = None
            lowest = math.inf
            for strength in strengths:
                linears = _solved(
                    basis, values, repeated, weights, training.class_num, strength, linears
                )
                # The first view, the whole image, is what an evaluation sees.
                logits = _out_of_fold(linears, values[: len(labels)], training.folds)
                loss = float(cross_entropies(logits, labels).mean())
                if best is None or best.loss is None or loss < best.loss * _BETTER:
                    right = int((logits.argmax(axis=1) == labels).sum())
                    best = Choice(tuple(tried), strength, loss, Proportion(right, len(labels)))
                if loss > lowest * _BETTER:
                    break  # the next penalties are worse still
                lowest = loss
            if best is not None and best.strength < STRENGTHS[_MIDDLE]:
                break
    assert best is not None
    return best


def fit_all(training: Training, choice: Choice) -> Linear:
    """Fit the chosen classifier on all training images; it takes features as they are."""
    basis, values, labels, balance, _ = _repeated(training, choice.views)
    (linear,) = _solved(
        basis,
        values,
        labels,
        balance[:, None],
        training.class_num,
        choice.strength,
        tolerance=_FINAL_TOLERANCE,
    )
    return linear.folded(basis)


def learning_curve(training: Training, choice: Choice, ordered: np.ndarray) -> Curve | None:
    """Return the cross-validated accuracy with an eighth, a quarter and half of the images.

    The error is expected to fall with a power of the number of images (Hestness et al., 2017,
    https://arxiv.org/abs/1712.00409).

    Args:
        training: the training images.
        choice: views and strength.
        ordered: int64 (N,), the order in which images are added.

    Returns:
        None if there are too few images.
    """
    count, labels = training.fold_count, training.labels
    if count < 2 or choice.accuracy is None:
        return None
    basis, values, repeated, balance, folds = _repeated(training, choice.views)
    times = len(choice.views)
    # The place of each image in its class, from 0 to 1.
    place = np.empty(len(labels))
    for label in range(training.class_num):
        own = ordered[labels[ordered] == label]
        place[own] = (np.arange(len(own)) + 0.5) / max(1, len(own))
    seen = [
        (folds != fold) & np.tile(place < share, times)
        for share in _SHARES
        for fold in range(count)
    ]
    enough = [len(np.unique(repeated[mask])) == training.class_num for mask in seen]
    shares = [share for i, share in enumerate(_SHARES) if all(enough[i * count : (i + 1) * count])]
    if len(shares) < 2:
        return None
    seen = seen[(len(_SHARES) - len(shares)) * count :]
    weights = np.stack(seen, axis=1) * balance[:, None]
    linears = _solved(
        basis,
        values,
        repeated,
        weights,
        training.class_num,
        max(choice.strength, _DEFAULT_STRENGTH),  # few images need a penalty
        tolerance=_CURVE_TOLERANCE,
    )
    whole = (1 - 1 / count) * len(labels)
    counts, errors = [], []
    for i, share in enumerate(shares):
        logits = _out_of_fold(
            linears[i * count : (i + 1) * count], values[: len(labels)], training.folds
        )
        counts.append(round(share * whole))
        errors.append(float((logits.argmax(axis=1) != labels).mean()))
    counts.append(round(whole))
    errors.append(1 - choice.accuracy.value)
    # Half an error more, so that none has a logarithm.
    x = np.log(counts)
    y = np.log(np.array(errors) + 0.5 / len(labels))
    power = float(np.clip(-np.polyfit(x, y, 1)[0], 0.0, 1.0))
    # From the images of one fold's training to twice all of them.
    growth = 2 * len(labels) / whole
    accuracies = [1 - error for error in errors]
    return Curve(counts, accuracies, 2 * len(labels), 1 - errors[-1] * growth**-power)
