"""Boxes and arrows as SVG: no library, so that the same drawing is the same text everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

__all__ = ["Box", "Drawing"]

_COLOURS = {
    "data": "#e9edf2",
    "conv": "#cfe2ff",
    "pool": "#fde2c4",
    "gate": "#e5d4f5",
    "join": "#cdebd3",
    "head": "#f7d0d5",
}
_LINE = "#37474f"


@dataclass(frozen=True)
class Box:
    """A rectangle by its centre, and the points where arrows end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> tuple[float, float]:
        """The middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> tuple[float, float]:
        """The middle of the right side."""
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> tuple[float, float]:
        """The middle of the upper side."""
        return self.x, self.y - self.height / 2

    @property
    def bottom(self) -> tuple[float, float]:
        """The middle of the lower side."""
        return self.x, self.y + self.height / 2


class Drawing:
    """A picture of `width` by `height` pixels; x grows to the right, y downwards."""

    def __init__(self, width: int, height: int):
        self._size = (width, height)
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        text: str,
        kind: str = "conv",
        width: float = 90,
        height: float = 34,
    ) -> Box:
        """Draw a box around a centre; lines of the text are separated by a newline."""
        box = Box(x, y, width, height)
        self._parts.append(
            f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
            f'height="{height:g}" rx="5" fill="{_COLOURS[kind]}" stroke="{_LINE}"/>'
        )
        lines = text.split("\n")
        for i, line in enumerate(lines):
            self.text(x, y + 15 * (i - (len(lines) - 1) / 2) + 4, line)
        return box

    def dot(self, x: float, y: float, text: str) -> Box:
        """Draw a small circle with a sign in it: an addition, a product."""
        self._parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{_COLOURS["join"]}" stroke="{_LINE}"/>'
        )
        self.text(x, y + 5, text, size=16)
        return Box(x, y, 22, 22)

    def text(self, x: float, y: float, text: str, size: int = 12, anchor: str = "middle") -> None:
        """Write a line; `y` is its base line."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw straight lines from point to point, with a head at the last."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        self._path(path, dashed)

    def arc(self, start: tuple[float, float], end: tuple[float, float], height: float) -> None:
        """Draw a curve that leaves and arrives vertically, `height` above (negative: below)."""
        (x0, y0), (x1, y1) = start, end
        self._path(f"M{x0:g} {y0:g} C{x0:g} {y0 - height:g} {x1:g} {y1 - height:g} {x1:g} {y1:g}")

    def _path(self, path: str, dashed: bool = False) -> None:
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.3"{dashes} '
            'marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """Return the picture as the text of an SVG file."""
        width, height = self._size
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif" '
                f'fill="{_LINE}">',
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{_LINE}"/>'
                "</marker></defs>",
                f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
                *self._parts,
                "</svg>\n",
            ]
        )
