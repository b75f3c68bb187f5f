"""Grids of images with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ppcls.data.image import as_rgb
from ppcls.pictures.figures import name_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

__all__ = ["Tile", "draw_tiles", "tile_grid"]


class Tile(NamedTuple):
    """One image of a grid, its caption, and whether to mark it as wrong.

    The image is uint8 (H, W, C). Of several bands, the first three are drawn (see `as_rgb`).
    """

    image: np.ndarray
    caption: str
    wrong: bool = False


def tile_grid(
    tiles: Sequence[Tile], picture: str | Path, columns: int = 8, titles: Sequence[str] = ()
) -> None:
    """Draw images row by row with captions below; captions of wrong ones are red.

    Args:
        tiles: the images.
        picture: the .png file to write.
        columns: maximum number of images in a row.
        titles: column titles.

    Raises:
        RunError: the file system refuses.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    lines = max(tile.caption.count("\n") + bool(tile.caption) for tile in tiles)
    figure = Figure(
        figsize=(1.6 * columns + 0.1, (1.6 + 0.14 * lines) * rows + 0.3),
        layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02, hspace=0, wspace=0),
    )
    draw_tiles(figure, tiles, columns, titles)
    save_figure(figure, picture)


def draw_tiles(
    figure: FigureBase, tiles: Sequence[Tile], columns: int, titles: Sequence[str] = ()
) -> None:
    """Draw the grid of `tile_grid` into a figure, or a part of one."""
    grid = figure.subplots(-(-len(tiles) // columns), columns, squeeze=False)
    for axes, title in zip(grid[0], titles, strict=False):
        axes.set_title(title, fontsize=9, fontweight="bold")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set_visible(False)
    for axes, tile in zip(grid.flat, tiles, strict=False):
        axes.imshow(as_rgb(tile.image))
        color = "red" if tile.wrong else "black"
        axes.set_xlabel(tile.caption, fontsize=8, labelpad=2, color=color, **name_style())
