"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppcls.metrics.answers import Answers, LabelSets

__all__ = ["Evaluation"]


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

    def summary(self) -> str:
        """Return the means as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        if self.unreadable:
            text += f"; {self.unreadable} unreadable images are counted as wrong"
        return text
