"""Annotated images, with their predictions below."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ppcls.data import image as image_reader
from ppcls.files import replacing
from ppcls.inference.results import Result
from ppcls.pictures.figures import fonts

__all__ = ["annotate", "save_annotated"]

_SIDE = 640
_NARROWEST = 320
_SIZE = 18


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from matplotlib.font_manager import FontProperties, fontManager

    return ImageFont.truetype(fontManager.findfont(FontProperties(family=fonts()[0])), _SIZE)


def annotate(source: Any, result: Result, *, allow_url: bool = False) -> Image.Image:
    """Return an image, at most 640 pixels a side, above its classes and scores.

    A source that is a URL is fetched only if `allow_url`.

    Raises:
        ImageError: the image cannot be read.
    """
    picture = Image.fromarray(image_reader.read_to_show(source, allow_url=allow_url))
    picture.thumbnail((_SIDE, _SIDE))
    lines = [
        f"{score:.3f}  {name}"
        for name, score in zip(result.label_names, result.scores, strict=True)
    ] or ["nothing above the threshold"]
    font = _font()
    width, step = max(picture.width, _NARROWEST), _SIZE + 6
    height = picture.height + step * len(lines) + 10
    out = Image.new("RGB", (width, height), "white")
    out.paste(picture)
    draw = ImageDraw.Draw(out)
    for i, line in enumerate(lines):
        at = (8, picture.height + 5 + i * step)
        draw.text(
            at, _fitting(line, font, width - 16), fill="black" if i == 0 else "dimgray", font=font
        )
    return out


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def save_annotated(
    answered: Sequence[tuple[Any, Result]],
    folder: Path,
    root: Path | None = None,
    *,
    allow_url: bool = False,
) -> None:
    """Write annotated images as PNG files, each with the name of its source.

    If a name repeats, the second file is called `name-2.png`, and so on.

    Args:
        answered: images with their predictions.
        folder: the folder to write.
        root: common folder of all images; folders between it and an image are recreated in
            `folder`.
        allow_url: whether sources that are URLs may be fetched.

    Raises:
        RunError: the folder cannot be written to.
    """
    used: dict[Path, int] = {}
    for source, result in answered:
        path = Path(result.source)
        name = (path.relative_to(root).parent if root else Path()) / (path.stem or "image")
        used[name] = used.get(name, 0) + 1
        again = f"-{used[name]}" if used[name] > 1 else ""
        with replacing(folder / f"{name}{again}.png") as file:
            annotate(source, result, allow_url=allow_url).save(file, "PNG")
