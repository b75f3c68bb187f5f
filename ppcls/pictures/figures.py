"""Shared code of all plots: fonts, short names, and saving figures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppcls.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["fonts", "name_style", "save_figure", "shorten"]

# Matplotlib takes a second to import, so functions that plot import it themselves. Its Figure
# class, unlike pyplot, keeps no global state and needs no display.


def fonts() -> list[str]:
    """Return the fonts to try for a character, in order, because Chinese names are common."""
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


def name_style() -> dict[str, Any]:
    """Return the text style for class names, which may be in any script with any character."""
    return {"family": fonts(), "parse_math": False}


def save_figure(figure: Figure, picture: str | Path) -> None:
    """Write a figure as a .png file.

    Raises:
        RunError: the file system refuses.
    """
    with replacing(Path(picture)) as file, warnings.catch_warnings():
        # A character that no font has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="png", dpi=100)


def shorten(name: str, length: int = 24) -> str:
    """Return the first synonym of a class name, shortened for a plot."""
    first = name.partition(",")[0]
    return first if len(first) <= length else f"{first[: length - 1]}…"
