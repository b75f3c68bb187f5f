"""Plots of a training run."""

from __future__ import annotations

import json
from pathlib import Path

from ppcls.pictures.figures import save_figure

__all__ = ["training_curves"]


def training_curves(metrics: Path, picture: Path) -> None:
    """Draw loss, accuracy and learning rate over epochs from a run's `metrics.jsonl`."""
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [r for r in records if r["kind"] == "train"]
    per_epoch = max((r["step"] for r in steps), default=0) + 1
    # The last record of an epoch holds the means over the whole epoch.
    epochs = list({r["epoch"]: r for r in steps}.values())
    evaluations = [r for r in records if r["kind"] == "eval"]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    # The first metric of an evaluation chooses the best model.
    found = [key for r in evaluations for key in r if key not in ("kind", "epoch", "loss")]
    metric = next((key for key in found if key != "HammingDistance"), "top1")
    for label, rows in (("training", epochs), ("evaluation", evaluations)):
        for axes, value in ((loss, "loss"), (accuracy, metric)):
            points = [(r["epoch"], r[value]) for r in rows if value in r]
            if points:
                axes.plot(*zip(*points, strict=True), ".-", label=label)
                axes.legend()
    rate.plot([r["epoch"] - 1 + r["step"] / per_epoch for r in steps], [r["lr"] for r in steps])
    loss.set_title("loss")
    if all(r["loss"] > 0 for r in [*steps, *evaluations]):
        loss.set_yscale("log")
    accuracy.set_title(metric)
    # Another start of the run may have had other metrics.
    scored = [r for r in evaluations if metric in r]
    if scored:
        best = max(scored, key=lambda r: r[metric])
        accuracy.set_title(f"{metric}, best {best[metric]:.4f} after epoch {best['epoch']}")
        accuracy.axhline(best[metric], color="gray", linewidth=0.8, linestyle=":")
    rate.set_title("learning rate")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    save_figure(figure, picture)
