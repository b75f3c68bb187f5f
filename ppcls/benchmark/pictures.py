"""Plots of a benchmark: the latency of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppcls.benchmark.results import Row
from ppcls.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

__all__ = ["latency_scatter"]

_ROOM_FOR = 15
"""Number of names that fit into a plot of the usual size."""


def latency_scatter(rows: Sequence[Row], key: str, label: str, picture: Path) -> None:
    """Draw the latency at the smallest batch size against a column of the measurements.

    Raises:
        RunError: the plot cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    smallest = min(row.batch_size for row in rows)
    many = len({row.model for row in rows}) > _ROOM_FOR
    figure = Figure(figsize=(13, 9) if many else (9, 6), layout="constrained")
    axes = figure.subplots()
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if row.batch_size == smallest:
            kinds.setdefault(f"{row.backend}, {row.device} {row.precision}", []).append(row)
    for name, points in kinds.items():
        axes.scatter([getattr(r, key) for r in points], [r.median_ms for r in points], label=name)
    # Write each name once, at its highest point, however many backends there are.
    highest: dict[str, Row] = {}
    for row in (r for points in kinds.values() for r in points):
        if row.model not in highest or row.median_ms > highest[row.model].median_ms:
            highest[row.model] = row
    axes.set_xlabel(label)
    axes.set_ylabel(f"median latency, batch {smallest} (ms)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.draw_without_rendering()  # fixes the position of each point on the page
    _name_points(axes, {(getattr(row, key), row.median_ms): row.model for row in highest.values()})
    with replacing(picture) as file:
        figure.savefig(file, format="png", dpi=100)


def _name_points(axes: Axes, names: Mapping[tuple[float, float], str]) -> None:
    """Write the name of each point beside it, inside the frame, without covering other names."""
    taken: list[Any] = []
    for point, name in names.items():
        for text in _beside(axes, point, name):
            box = text.get_window_extent()
            inside = axes.bbox.fully_containsx(box.x1) and axes.bbox.fully_containsy(box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            text = next(_beside(axes, point, name))
        taken.append(text.get_window_extent())


def _beside(axes: Axes, point: tuple[float, float], name: str) -> Iterator[Annotation]:
    """Yield the name at each possible place beside its point, the preferred place first."""
    for x, side in ((4, "left"), (-4, "right")):
        for y in (4, -8, 12, -16):
            text = axes.annotate(
                name, point, (x, y), textcoords="offset points", ha=side, fontsize=7
            )
            text.set_in_layout(False)
            yield text
