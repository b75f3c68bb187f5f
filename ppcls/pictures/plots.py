"""Pictures of results: training curves, confusion, calibration, grids of predictions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ppcls.data import image
from ppcls.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ppcls.data.tools.check import PartCheckup
    from ppcls.metrics.single_label import Calibration

__all__ = [
    "Tile",
    "confusion_picture",
    "data_picture",
    "precision_recall_picture",
    "prediction_grid",
    "reliability_diagram",
    "sample_grid",
    "shorten",
    "training_curves",
]


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
    # The first metric of an evaluation says which weights are the best.
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
    if evaluations:
        best = max(evaluations, key=lambda r: r[metric])
        accuracy.set_title(f"{metric}, best {best[metric]:.4f} after epoch {best['epoch']}")
        accuracy.axhline(best[metric], color="gray", linewidth=0.8, linestyle=":")
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


def data_picture(
    parts: Mapping[str, PartCheckup], names: Sequence[str], picture: str | Path
) -> None:
    """Draw how many images each class has in each part of a data set, and some of the images."""
    from matplotlib.figure import Figure

    examples = next((part.examples for part in parts.values() if part.examples), [])
    columns, few = 8, len(names) <= 40
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(12, 3.6 + 1.75 * rows), layout="constrained")
    heights = [3.6, 1.75 * rows] if rows else [3.6]
    panels = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = panels[0].subplots()
    for i, (part, found) in enumerate(parts.items()):
        if few:
            at = np.arange(len(names)) + 0.8 * (i - (len(parts) - 1) / 2) / len(parts)
            axes.bar(at, found.class_counts, 0.8 / len(parts), label=part)
        else:
            axes.plot(sorted(found.class_counts, reverse=True), drawstyle="steps-mid", label=part)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("images")
    axes.set_title("images of each class" + ("" if few else ", the largest first"))
    if few:
        long = max(map(len, names)) > 6 or len(names) > 20
        axes.set_xticks(
            range(len(names)),
            [shorten(name) for name in names],
            rotation=90 if long else 0,
            parse_math=False,
            family=_fonts(),
        )
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    if rows:
        grid = panels[1].subplots(rows, columns, squeeze=False)
        for cell in grid.flat:
            cell.axis("off")
        for cell, (path, label) in zip(grid.flat, examples, strict=False):
            pixels = image.read(path)
            cell.imshow(pixels)
            own = [label] if isinstance(label, int) else [i for i, flag in enumerate(label) if flag]
            caption = f"{', '.join(names[i] for i in own)}\n{pixels.shape[1]}x{pixels.shape[0]}"
            cell.set_title(shorten(caption, 40), fontsize=8, parse_math=False, family=_fonts())
    _save(figure, Path(picture))


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


def sample_grid(
    rows: Sequence[Sequence[Tile]], columns: Sequence[str], picture: str | Path
) -> None:
    """Draw a table of images with their captions below and a title over each column."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = max(tile.caption.count("\n") + bool(tile.caption) for row in rows for tile in row)
    figure = Figure(
        figsize=(1.6 * len(columns) + 0.1, (1.6 + 0.14 * lines) * len(rows) + 0.3),
        layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02, hspace=0, wspace=0),
    )
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=9, fontweight="bold")
    for axes, tile in zip(grid.flat, (tile for row in rows for tile in row), strict=True):
        axes.imshow(tile.image)
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set_visible(False)
        axes.set_xlabel(
            tile.caption,
            fontsize=8,
            labelpad=2,
            parse_math=False,
            family=_fonts(),
            color="red" if tile.wrong else "black",
        )
    _save(figure, Path(picture))


_CELLS_WITH_NUMBERS = 30
_NAMED_CLASSES = 120


def shorten(name: str, length: int = 24) -> str:
    """Return the first of the synonyms that a class name lists, cut to fit a picture."""
    first = name.partition(",")[0]
    return first if len(first) <= length else f"{first[: length - 1]}…"


def _draw_points(axes: Axes, shares: np.ndarray) -> None:
    """Draw a matrix whose cells would be smaller than a pixel as points, what is wrong on top."""
    rows, columns = np.nonzero(shares)
    for wrong, color in ((False, "tab:blue"), (True, "tab:red")):
        of_kind = (rows != columns) == wrong
        y, x = rows[of_kind], columns[of_kind]
        sizes = 2 + 14 * shares[y, x]
        axes.scatter(x, y, sizes, color=color, linewidths=0, label="wrong" if wrong else "right")
    axes.set_xlim(-0.5, len(shares) - 0.5)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", markerscale=2)
    axes.set_title("share of the true class (size of the points)")


def _draw_matrix(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw shares of the true class; the names and the numbers only where there is room."""
    classes = len(names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if classes > _NAMED_CLASSES:
        _draw_points(axes, shares)
        return
    # The square root shows a confusion of one in a hundred as a tenth of full colour.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title("share of the true class (colour: its square root)")
    size = min(9.0, 700 / classes)
    ticks, short = range(classes), [shorten(name) for name in names]
    rotation = 90 if max(map(len, short)) > 3 else 0
    axes.set_yticks(ticks, short, fontsize=size, family=_fonts(), parse_math=False)
    axes.set_xticks(
        ticks, short, fontsize=size, family=_fonts(), parse_math=False, rotation=rotation
    )
    if classes <= _CELLS_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = shares[row, column] > 0.4
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "black",
            )


def _draw_pairs(axes: Axes, counts: np.ndarray, names: Sequence[str], most: int) -> None:
    """Draw what was taken for what most often, as bars."""
    from matplotlib.ticker import MaxNLocator

    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(i // len(names), i % len(names)) for i in order if wrong.flat[i]]
    axes.set_title(f"the {len(pairs)} most frequent confusions")
    axes.set_xlabel("images")
    axes.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color="tab:red")
    labels = [f"{shorten(names[a])} → {shorten(names[b])}" for a, b in pairs]
    axes.set_yticks(range(len(pairs)), labels, fontsize=8, family=_fonts(), parse_math=False)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", alpha=0.3)


def confusion_picture(counts: np.ndarray, names: Sequence[str], picture: str | Path) -> None:
    """Draw a confusion matrix and beside it the most frequent confusions.

    Args:
        counts: int64 (C, C), a row a true class, a column an answer.
        names: of the C classes.
        picture: the .png file to write.
    """
    from matplotlib.figure import Figure

    classes = len(names)
    side = min(14.0, max(5.0, 0.28 * classes)) if classes <= _NAMED_CLASSES else 10.0
    # Names on both sides of the matrix need room of their own.
    figure = Figure(figsize=(2 * side + 2, side + 1.5), layout="constrained")
    matrix, pairs = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_matrix(matrix, counts, names)
    _draw_pairs(pairs, counts, names, most=min(40, round(3.2 * side)))
    _save(figure, Path(picture))


def reliability_diagram(found: Calibration, picture: str | Path) -> None:
    """Draw accuracy over confidence, and how many images there are of each confidence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    width, left = np.diff(found.edges), found.edges[:-1]
    filled = found.count > 0
    confidence, accuracy = found.confidence[filled], found.accuracy[filled]
    above.bar(left[filled], accuracy, width[filled], align="edge", edgecolor="white")
    for label, color, kind in (
        ("too sure", "tab:red", confidence > accuracy),
        ("not sure enough", "tab:orange", confidence < accuracy),
    ):
        above.bar(
            left[filled][kind],
            (confidence - accuracy)[kind],
            width[filled][kind],
            bottom=accuracy[kind],
            align="edge",
            color=color,
            edgecolor="white",
            label=label,
        )
    above.plot([0, 1], [0, 1], "--", color="gray", linewidth=1, label="confidence = accuracy")
    above.set_ylabel("accuracy")
    above.set_ylim(0, 1)
    above.set_title(f"expected calibration error {found.error:.4f}")
    above.legend(loc="upper left")
    below.bar(left, found.count, width, align="edge", edgecolor="white")
    below.set_xlim(0, 1)
    below.set_xlabel("confidence")
    below.set_ylabel("images")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    _save(figure, Path(picture))


def precision_recall_picture(
    curves: Sequence[tuple[str, np.ndarray, np.ndarray]], picture: str | Path
) -> None:
    """Draw the precision-recall curves of labels, and their average precisions as bars.

    Args:
        curves: name, precision and recall, float (K,), of each label, recall rising.
        picture: the .png file to write.
    """
    from matplotlib.figure import Figure

    def area(precision: np.ndarray, recall: np.ndarray) -> float:
        return float(np.sum(np.diff(recall, prepend=0) * precision))

    weakest = sorted(curves, key=lambda curve: area(*curve[1:]))[:40]
    figure = Figure(figsize=(12, max(5.0, 1.5 + 0.22 * len(weakest))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, precision, recall in weakest:
        few = len(curves) <= 10
        label = shorten(name) if few else None
        color = None if few else "tab:blue"
        left.step(recall, precision, where="pre", label=label, color=color, alpha=1 if few else 0.4)
    left.set_xlabel("recall")
    left.set_ylabel("precision")
    left.set_xlim(0, 1.01)
    left.set_ylim(0, 1.01)
    left.grid(alpha=0.3)
    if len(curves) <= 10:
        left.legend(prop={"family": _fonts()}, loc="lower left")
    right.barh(range(len(weakest)), [area(*curve[1:]) for curve in weakest])
    right.set_yticks(
        range(len(weakest)),
        [shorten(name) for name, *_ in weakest],
        fontsize=8,
        family=_fonts(),
        parse_math=False,
    )
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("average precision")
    shown = "" if len(weakest) == len(curves) else f" (the {len(weakest)} lowest of {len(curves)})"
    right.set_title(f"average precision{shown}")
    right.grid(axis="x", alpha=0.3)
    _save(figure, Path(picture))
