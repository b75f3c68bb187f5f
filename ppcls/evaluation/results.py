"""The result of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppcls.metrics.answers import Answers, LabelSets

__all__ = ["Evaluation", "collapse"]

_FEWEST = 6
"""Images below which a prediction for all of them says nothing."""

_ALL, _EXCESS = 0.98, 0.3
"""A class for nearly all images, and how much that is above the class's share of the images."""

_SAME = 1e-4

_CHANCE = 0.02
"""How near to ln(classes) the mean loss is at chance, relative; and top-1 to its chance level."""

_TO_TRY = (
    "; try a learning rate ten times lower, and look at images, labels and normalisation with "
    "`ppcls data show`"
)


def collapse(
    label: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    names: Sequence[str],
    surprise: np.ndarray | None = None,
) -> str:
    """Describe predictions that do not depend on the images, and what to try; or return "".

    Args:
        label: int64 (N,), the classes of the images that could be read.
        predicted: int64 (N,), the most probable classes.
        confidence: float (N,), their probabilities.
        names: class names.
        surprise: float (N,), the negative log-likelihood of each image's class, if known.
    """
    count = len(label)
    if count < _FEWEST or len(names) < 2:
        return ""
    shares = np.bincount(label, minlength=len(names)) / count
    taken = np.bincount(predicted, minlength=len(names)) / count
    most = int(taken.argmax())
    if shares.max() == 1:
        return ""
    first = float(confidence[0])
    # A model may be certain of every image.
    if taken[most] == 1 and np.ptp(confidence) < _SAME and first < 1 - _SAME:
        equal = ", equal logits for all classes" if abs(first * len(names) - 1) < _SAME else ""
        return (
            f"the network gives every image the same output{equal}: it has learned nothing{_TO_TRY}"
        )
    if taken[most] >= _ALL and taken[most] - shares[most] >= _EXCESS:
        return (
            f"the model predicts {names[most]!r} for {taken[most]:.0%} of the images, but "
            f"{shares[most]:.0%} of them are of this class{_TO_TRY}"
        )
    if surprise is not None:
        chance, loss = math.log(len(names)), float(surprise.mean())
        top1 = float((label == predicted).mean())
        if abs(loss - chance) < _CHANCE * chance and top1 <= shares.max() + _CHANCE:
            return (
                f"the model does no better than chance: its loss is {loss:.3f}, and "
                f"ln({len(names)} classes) is {chance:.3f}{_TO_TRY}"
            )
    return ""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        means: `loss` and the metrics by name (`top1`, `top5` …), each the mean over images.
        metric: the name of the metric that decides which weights are best; higher is better.
        answers: the predictions for all images, single-label or multi-label.
        names: the class names.
        seconds: the duration.
        threshold: the score above which a multi-label image is given a label; one for all, or for
            each.
    """

    means: dict[str, float]
    metric: str
    answers: Answers | LabelSets
    names: Sequence[str]
    seconds: float
    threshold: float | Sequence[float] = 0.5

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.answers.index)

    @property
    def unreadable(self) -> int:
        """The number of unreadable images, which count as wrong and not in the loss."""
        return int((~self.answers.read).sum())

    @property
    def score(self) -> float:
        """The value of `metric`, 0 to 1."""
        return self.means[self.metric]

    @property
    def warning(self) -> str:
        """What is wrong if the predictions do not depend on the images, and what to try; or ""."""
        found, read = self.answers, self.answers.read
        if isinstance(found, Answers):
            return collapse(
                found.label[read],
                found.predicted[read],
                found.confidence[read],
                self.names,
                found.surprise[read],
            )
        scores, labels = found.scores[read], found.labels[read]
        if len(scores) < _FEWEST or not (labels.any(0) & ~labels.all(0)).any():
            return ""
        if np.ptp(scores, axis=0).max() < _SAME:
            return f"the network gives every image the same scores: it has learned nothing{_TO_TRY}"
        return ""

    def summary(self) -> str:
        """Return the means as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        if self.unreadable:
            text += f"; {self.unreadable} unreadable images are counted as wrong"
        return text
