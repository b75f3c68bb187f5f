"""Pictures of results: training curves and grids of predictions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ppcls.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Tile", "prediction_grid", "training_curves"]


def training_curves(metrics: Path, picture: Path) -> None:
    """Draw loss, accuracy and learning rate over epochs from a run's `metrics.jsonl`."""
    # Matplotlib takes a second to import: only those who want a picture pay for it. The Figure
    # class, unlike pyplot, keeps no global state and needs no display.
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [r for r in records if r["kind"] == "train"]
    per_epoch = max((r["step"] for r in steps), default=0) + 1
    # The last record of an epoch holds the means over all of it.
    epochs = list({r["epoch"]: r for r in steps}.values())
    evaluations = [r for r in records if r["kind"] == "eval"]

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for label, rows in (("training", epochs), ("evaluation", evaluations)):
        for axes, value in ((loss, "loss"), (accuracy, "top1")):
            points = [(r["epoch"], r[value]) for r in rows if value in r]
            if points:
                axes.plot(*zip(*points, strict=True), ".-", label=label)
                axes.legend()
    rate.plot([r["epoch"] - 1 + r["step"] / per_epoch for r in steps], [r["lr"] for r in steps])
    loss.set_title("loss")
    if all(r["loss"] > 0 for r in [*steps, *evaluations]):
        loss.set_yscale("log")
    accuracy.set_title("top-1")
    if evaluations:
        best = max(evaluations, key=lambda r: r["top1"])
        accuracy.set_title(f"top-1, best {best['top1']:.4f} after epoch {best['epoch']}")
        accuracy.axhline(best["top1"], color="gray", linewidth=0.8, linestyle=":")
    rate.set_title("learning rate")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    _save(figure, picture)


def _fonts() -> list[str]:
    """Return the fonts to look a character up in, one after the other: Chinese names are common."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    wide = (
        "Noto Sans CJK SC",
        "Noto Sans SC",
        "Source Han Sans SC",
        "WenQuanYi Micro Hei",
        "SimHei",
    )
    return [*(name for name in wide if name in installed), "DejaVu Sans"]


def _save(figure: Figure, picture: Path) -> None:
    with replacing(picture) as file, warnings.catch_warnings():
        # A character that no font has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="png", dpi=100)


class Tile(NamedTuple):
    """One picture of a grid: RGB uint8 (H, W, 3), its caption, and whether to mark it as wrong."""

    image: np.ndarray
    caption: str
    wrong: bool = False


def prediction_grid(tiles: Sequence[Tile], picture: str | Path, columns: int = 8) -> None:
    """Draw images with their captions; captions of wrong ones are red."""
    from matplotlib.figure import Figure

    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(tiles):
            axes.imshow(tiles[i].image)
            axes.set_title(
                tiles[i].caption,
                fontsize=8,
                color="red" if tiles[i].wrong else "black",
                parse_math=False,
                family=_fonts(),
            )
    _save(figure, Path(picture))
