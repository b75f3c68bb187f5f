"""Pictures of results: training curves and grids of predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Tile", "prediction_grid", "training_curves"]


def training_curves(metrics: Path, picture: Path) -> None:
    """Draw loss, accuracy and learning rate over epochs from a run's `metrics.jsonl`."""
    # Matplotlib takes a second to import: only those who want a picture pay for it. The Figure
    # class, unlike pyplot, keeps no global state and needs no display.
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    train = [r for r in records if r["kind"] == "train"]
    evals = [r for r in records if r["kind"] == "eval"]
    steps = max((r["step"] for r in train), default=0) + 1
    when = [r["epoch"] - 1 + (r["step"] + 1) / steps for r in train]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    loss.plot(when, [r["loss"] for r in train], label="train (mean of the epoch so far)")
    accuracies = [k for k in ("top1", "top5") if train and k in train[0]]
    for name in accuracies[:1]:
        accuracy.plot(when, [r[name] for r in train], label=f"train {name}")
    if evals:
        epochs = [r["epoch"] for r in evals]
        loss.plot(epochs, [r["loss"] for r in evals], "o-", label="evaluation")
        best = max(evals, key=lambda r: r["top1"])
        accuracy.plot(epochs, [r["top1"] for r in evals], "o-", label="evaluation top1")
        accuracy.axhline(best["top1"], color="gray", linewidth=0.8, linestyle=":")
        accuracy.set_title(f"best top-1 {best['top1']:.4f}, epoch {best['epoch']}")
    loss.set_title("loss")
    loss.set_yscale("log")
    rate.plot(when, [r["lr"] for r in train])
    rate.set_title("learning rate")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend(loc="lower right")
    figure.savefig(picture, dpi=100)


class Tile(NamedTuple):
    """One picture of a grid: RGB uint8 (H, W, 3), its caption, and whether to mark it as wrong."""

    image: np.ndarray
    caption: str
    wrong: bool = False


def prediction_grid(tiles: Sequence[Tile], picture: Path, columns: int = 8) -> None:
    """Draw images with their captions; captions of wrong ones are red."""
    from matplotlib.figure import Figure

    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(tiles):
            axes.imshow(tiles[i].image)
            axes.set_title(tiles[i].caption, fontsize=8, color="red" if tiles[i].wrong else "black")
    figure.savefig(picture, dpi=100)
