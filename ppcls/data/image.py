"""The one decoder of the project: a file, bytes or an array in, an RGB array out."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from ppcls.errors import ImageError

__all__ = ["IMAGE_SUFFIXES", "find_images", "read"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".jp2", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""What counts as an image when a folder is searched (any case)."""


def read(source: str | os.PathLike | bytes | np.ndarray) -> np.ndarray:
    """Return an image as an RGB array, uint8, (H, W, 3).

    EXIF orientation is applied and gray is replicated to three channels.

    Args:
        source: a path, the bytes of an encoded image, or an array that already is uint8
            (H, W, 3) RGB.

    Raises:
        ImageError: the source is absent, empty, or not an image; the message names it.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise ImageError(
                f"an image array must be uint8 (H, W, 3) RGB, not {source.dtype} {source.shape}"
            )
        return source
    if not isinstance(source, (bytes, str, os.PathLike)):
        raise ImageError(f"expected a path, bytes or an array, not {type(source).__name__}")
    if isinstance(source, bytes):
        name, data = f"{len(source)} bytes", np.frombuffer(source, np.uint8)
    else:
        name = str(source)
        try:
            # Read here rather than in cv2.imread, which cannot say why a file is unreadable.
            data = np.fromfile(source, np.uint8)
        except OSError as error:
            raise ImageError(f"{name}: cannot read the image: {error.strerror}") from None
    if data.size == 0:
        raise ImageError(f"{name}: the image file is empty")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # its message is for OpenCV's own developers
        raise ImageError(f"{name}: the image is too large to decode ({error.err})") from None
    if image is None:
        raise ImageError(f"{name}: not an image that can be decoded (damaged, or another format)")
    return image


def find_images(folder: Path) -> list[Path]:
    """Return the image files anywhere under a folder, sorted by path, by suffix in any case."""
    return sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    )
