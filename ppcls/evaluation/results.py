"""What an evaluation found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppcls.metrics.answers import Answers, LabelSets

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        means: `loss` and the metrics by name (`top1`, `top5` …), each the mean over images.
        metric: the name of the metric that says which weights are the best; higher is better.
        answers: what the model said of each image: of one class, or with several labels.
        names: of the classes.
        seconds: how long it took.
        threshold: from which score on an image is given one of several labels.
    """

    means: dict[str, float]
    metric: str
    answers: Answers | LabelSets
    names: Sequence[str]
    seconds: float
    threshold: float = 0.5

    @property
    def count(self) -> int:
        """How many images there were."""
        return len(self.answers.index)

    @property
    def unreadable(self) -> int:
        """How many of them could not be read: they count as wrong, and in no loss."""
        return int((~self.answers.read).sum())

    @property
    def score(self) -> float:
        """The value of that metric, 0 to 1."""
        return self.means[self.metric]

    def summary(self) -> str:
        """Return the means as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        if self.unreadable:
            text += f"; {self.unreadable} that cannot be read are counted as wrong"
        return text
