"""The result of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppcls.evaluation.report import class_table
from ppcls.fitting.choice import Proportion
from ppcls.metrics.single_label import ClassRow

__all__ = ["FitResult"]

_CLASSES_ON_SCREEN = 40


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    Attributes:
        model: the architecture.
        classes: the class names.
        folder: the folder of the run: checkpoints, configuration, metrics, lists.
        best: the weights.
        bundle: the exported model.
        report: the folder of the report.
        config: the configuration of the run, with the settings to train all layers.
        train, val: numbers of training and validation images.
        accuracy: top-1 accuracy on the validation images, 0 to 1.
        interval: its 95 % confidence interval.
        cross_validated: cross-validated accuracy of the linear classifier on the training images;
            None if a class has a single picture.
        cross_validated_interval: its interval.
        twice: the accuracy to expect, cross-validated, with twice the training images; None if
            unknown.
        guess: the accuracy of always predicting the most frequent class.
        linear: the accuracy of the linear classifier on the validation images.
        fine_tuned: the best accuracy of the fine-tuned model on them; None without fine-tuning.
        copies: pictures that are in both training and validation images, as pairs of paths.
        without_copies: `accuracy` of the linear classifier without those validation images; None
            if there are none.
        strength: strength of the penalty.
        views: the views of the training images: `whole`, `flipped`, `crops`.
        tried: the cross-validated accuracy by architecture, where several were tried.
        unreadable: the images that were left out.
        computed: number of images whose features were not in the cache.
        seconds: duration of the fit, and of its parts.
        notes: what the user was told.
        per_class: precision, recall, F1 and number of validation images of each class.
    """

    model: str
    classes: list[str]
    folder: Path
    best: Path
    bundle: Path
    report: Path
    config: Path
    train: int
    val: int
    accuracy: float
    interval: tuple[float, float]
    cross_validated: float | None
    cross_validated_interval: tuple[float, float] | None
    twice: float | None
    guess: float
    linear: float
    fine_tuned: float | None
    copies: list[tuple[str, str]]
    without_copies: float | None
    strength: float
    views: list[str]
    tried: dict[str, float | None]
    unreadable: list[str]
    computed: int
    seconds: dict[str, float]
    notes: list[str]
    per_class: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        data = vars(self)
        return data | {key: str(value) for key, value in data.items() if isinstance(value, Path)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitResult:
        """Return the result that `to_dict` has written to JSON."""
        paths = {key: Path(data[key]) for key in ("folder", "best", "bundle", "report", "config")}
        return cls(**{**data, **paths})

    def summary(self) -> str:
        """Return the result as lines of text."""
        found = Proportion(round(self.accuracy * self.val), self.val)
        lines = []
        if len(self.classes) <= _CLASSES_ON_SCREEN:
            lines.append(class_table([ClassRow(**row) for row in self.per_class]))
        lines.append(f"accuracy  {found} on validation images")
        if self.cross_validated is not None and self.cross_validated_interval is not None:
            low, high = self.cross_validated_interval
            lines.append(
                f"          {self.cross_validated:.4f} (95 % interval {low:.3f} to {high:.3f}) "
                f"cross-validated on the {self.train} training images"
            )
        if self.without_copies is not None:
            lines.append(
                f"          {self.without_copies:.4f} without the {len(self.copies)} validation "
                "images that are copies of training images"
            )
        if self.fine_tuned is not None:
            kept = "fine-tuned" if self.fine_tuned >= self.linear else "linear"
            lines.append(
                f"          linear classifier {self.linear:.4f}, fine-tuned {self.fine_tuned:.4f}: "
                f"the {kept} model is kept"
            )
        lines += self._advice()
        lines.append(
            f"time      {self.seconds['total']:.1f} s, of which {self.seconds['features']:.1f} s "
            f"for the features of {self.computed} new images"
        )
        mistakes = self.report / "mistakes.png"
        lines += [
            f"mistakes  {mistakes}" if mistakes.is_file() else "mistakes  none",
            f"report    {self.report / 'report.md'}",
            f"model     {self.bundle}",
            f"run       {self.folder}",
        ]
        return "\n".join(lines)

    def _advice(self) -> list[str]:
        low, _ = self.cross_validated_interval or self.interval
        if low <= self.guess:
            return [
                f"warning: this is not clearly more than {self.guess:.4f}, which always predicting "
                "the most frequent class reaches: the classes cannot be told apart by these "
                "features; check the labels, or add images"
            ]
        if self.twice is None:
            return []
        return [
            f"next      about {self.twice:.3f} cross-validated with twice the images; --finetune "
            "trains all layers"
        ]
