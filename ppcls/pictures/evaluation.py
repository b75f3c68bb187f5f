"""Plots of an evaluation: confusion, calibration, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppcls.pictures.figures import fonts, name_style, save_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ppcls.metrics.single_label import Calibration

__all__ = ["confusion_picture", "precision_recall_picture", "reliability_diagram"]

_CELLS_WITH_NUMBERS = 30
_NAMED_CLASSES = 120


def _draw_points(axes: Axes, shares: np.ndarray) -> None:
    """Draw a matrix with cells smaller than a pixel as points, with errors on top."""
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
    """Draw shares of the true class, with names and numbers if there is room."""
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
    axes.set_yticks(ticks, short, fontsize=size, **name_style())
    axes.set_xticks(ticks, short, fontsize=size, **name_style(), rotation=rotation)
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
    """Draw the most frequent confusions as bars."""
    from matplotlib.ticker import MaxNLocator

    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(i // len(names), i % len(names)) for i in order if wrong.flat[i]]
    axes.set_title(f"the {len(pairs)} most frequent confusions")
    axes.set_xlabel("images")
    axes.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color="tab:red")
    labels = [f"{shorten(names[a])} → {shorten(names[b])}" for a, b in pairs]
    axes.set_yticks(range(len(pairs)), labels, fontsize=8, **name_style())
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", alpha=0.3)


def confusion_picture(counts: np.ndarray, names: Sequence[str], picture: str | Path) -> None:
    """Draw a confusion matrix and beside it the most frequent confusions.

    Args:
        counts: int64 (C, C), a row for each true class, a column for each predicted class.
        names: names of the C classes.
        picture: the .png file to write.
    """
    from matplotlib.figure import Figure

    classes = len(names)
    side = min(14.0, max(5.0, 0.28 * classes)) if classes <= _NAMED_CLASSES else 10.0
    # Names on both sides of the matrix need additional room.
    figure = Figure(figsize=(2 * side + 2, side + 1.5), layout="constrained")
    matrix, pairs = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _draw_matrix(matrix, counts, names)
    _draw_pairs(pairs, counts, names, most=min(40, round(3.2 * side)))
    save_figure(figure, picture)


def reliability_diagram(found: Calibration, picture: str | Path) -> None:
    """Draw accuracy over confidence, and the number of images at each confidence."""
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
    save_figure(figure, picture)


def precision_recall_picture(
    curves: Sequence[tuple[str, np.ndarray, np.ndarray]], picture: str | Path
) -> None:
    """Draw the precision-recall curves of labels, and their average precisions as bars.

    Args:
        curves: name, precision and recall of each label, float (K,), in order of rising recall.
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
        left.legend(prop={"family": fonts()}, loc="lower left")
    right.barh(range(len(weakest)), [area(*curve[1:]) for curve in weakest])
    right.set_yticks(
        range(len(weakest)),
        [shorten(name) for name, *_ in weakest],
        fontsize=8,
        **name_style(),
    )
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("average precision")
    shown = "" if len(weakest) == len(curves) else f" (the {len(weakest)} lowest of {len(curves)})"
    right.set_title(f"average precision{shown}")
    right.grid(axis="x", alpha=0.3)
    save_figure(figure, picture)
