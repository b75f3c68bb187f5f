"""Make a copy of a data set that decodes faster: smaller JPEGs in the same folders, with lists."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg

from ppcls.data import image
from ppcls.data.folders import find_images, walk
from ppcls.data.image import read_header
from ppcls.data.lists import LIST_SUFFIXES, raise_problems, shown
from ppcls.data.map_ahead import map_ahead
from ppcls.errors import DataError, ImageError
from ppcls.files import read_regular, replacing

__all__ = ["Prepared", "prepare"]

_OPTIONS_FILE = "prepared.json"
_BLOCK = 16


class Prepared(NamedTuple):
    """Numbers of images rewritten, copied and already present; total bytes before and after."""

    rewritten: int
    copied: int
    kept: int
    bytes_before: int
    bytes_after: int


def prepare(
    source: str | Path,
    target: str | Path,
    short_side: int = 320,
    quality: int = 95,
    workers: int = 2,
    progress: Any = iter,
) -> Prepared:
    """Write every image under `source` to the same place under `target` as a smaller JPEG.

    The short side becomes `short_side` pixels and is never enlarged. EXIF orientation is applied,
    transparency composited on white, and chroma stored at half the resolution. Images of several
    bands are an error, because JPEGs hold none. JPEGs that are
    already small enough are copied. All files keep their names and suffixes, because readers go by
    content. So the lists under `source` (`.txt`, `.csv`, `.jsonl`) are copied unchanged.

    After an interruption, run it again to resume. Lists are written last, so their presence means
    that all images are complete.

    Args:
        source: a folder of images.
        target: another folder, new or from an earlier run with the same options.
        short_side: length in pixels.
        quality: JPEG quality, 1 to 100.
        workers: number of threads.
        progress: wraps the iterable of blocks of 16 images, as tqdm does.

    Raises:
        DataError: no images, unreadable images (the message names the first ten after all others
            are written), or a target with other contents.
    """
    src, dst = Path(source), Path(target)
    options = {"short_side": short_side, "quality": quality}
    paths = [path.relative_to(src) for path in find_images(src)] if src.is_dir() else []
    if not paths:
        raise DataError(f"{src}: not a folder with images")
    _claim(src, dst, options)

    def rewrite(block: list[Path]) -> list[tuple[str, int, int] | str]:
        return [_rewrite(src / path, dst / path, short_side, quality) for path in block]

    blocks = [paths[i : i + _BLOCK] for i in range(0, len(paths), _BLOCK)]
    with closing(map_ahead(rewrite, blocks, workers)) as results:
        done = [each for block in progress(results) for each in block]
    raise_problems([each for each in done if isinstance(each, str)])
    for path in map(Path, walk(src)):
        if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
            with replacing(dst / path.relative_to(src)) as file:
                shutil.copyfile(path, file)
    whole = [each for each in done if not isinstance(each, str)]
    kinds = [kind for kind, _, _ in whole]
    return Prepared(
        kinds.count("rewritten"),
        kinds.count("copied"),
        kinds.count("kept"),
        sum(before for _, before, _ in whole),
        sum(after for _, _, after in whole),
    )


def _claim(src: Path, dst: Path, options: dict[str, int]) -> None:
    if dst.resolve().is_relative_to(src.resolve()) or src.resolve().is_relative_to(dst.resolve()):
        raise DataError(f"{dst}: the prepared copy must be outside {src}")
    made = dst / _OPTIONS_FILE
    if made.is_file():
        try:
            earlier = json.loads(read_regular(made, 2**16))
        except (OSError, ValueError, RecursionError):
            earlier = "unknown options"
        if earlier != options:
            raise DataError(
                f"{dst}: made with {shown(earlier)}, not {options}; name another folder"
            )
    elif dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise DataError(f"{dst}: holds other files; name a new folder")
    with replacing(made) as file:
        file.write_text(json.dumps(options) + "\n", encoding="utf-8")


def _rewrite(old: Path, new: Path, short_side: int, quality: int) -> tuple[str, int, int] | str:
    """Return the action taken and the bytes before and after, or the image's problem."""
    try:
        before = old.stat().st_size
        if new.exists():
            return "kept", before, new.stat().st_size
        header = read_header(old)
        if header.bands not in (0, 3):
            return (
                f"{old}: {header.mode} is no gray or RGB image, and JPEGs hold no others; prepare "
                "such images with the tool that wrote them"
            )
        is_small = min(header.width, header.height) <= short_side
        if header.format == "JPEG" and header.mode in ("L", "RGB") and is_small:
            image.read(old)  # never copy an unreadable image
            kind, data = "copied", old.read_bytes()
        else:
            kind, data = "rewritten", _encode(image.read(old), header.mode, short_side, quality)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{old}: cannot read the image: {error.strerror}"
    new.parent.mkdir(parents=True, exist_ok=True)
    partial = new.with_name(f".{new.name}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    partial.replace(new)
    return kind, before, len(data)


def _encode(pixels: np.ndarray, mode: str, short_side: int, quality: int) -> bytes:
    height, width = pixels.shape[:2]
    ratio = short_side / min(height, width)
    if ratio < 1:
        size = max(short_side, round(width * ratio)), max(short_side, round(height * ratio))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if mode == "L":
        gray = np.ascontiguousarray(pixels[..., :1])
        return simplejpeg.encode_jpeg(gray, quality, "GRAY", "Gray")
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", "420")
