"""A copy of a data set that decodes faster: smaller JPEGs, in the same folders, with its lists."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg

from ppcls.data import image
from ppcls.data.image import find_images, read_header
from ppcls.data.lists import raise_problems
from ppcls.errors import DataError, ImageError
from ppcls.files import replacing

__all__ = ["Prepared", "prepare"]

_OPTIONS_FILE = "prepared.json"
_JPEG_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif"))
_BLOCK = 16


class Prepared(NamedTuple):
    """How many images were rewritten, copied, and there already; all bytes before and after."""

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

    The short side becomes `short_side` pixels and is never enlarged; EXIF orientation is applied,
    transparency composited on white, chroma stored at half the resolution. A JPEG that is small
    enough already is copied. A file with another suffix gets `.jpg` after its name, and the lists
    beside the images (`.txt`, `.csv`, `.jsonl`, anywhere under `source`) follow.

    Run again after an interruption, it goes on where it was. Lists come last: where they are, all
    images are.

    Args:
        source: a folder of images.
        target: another folder, new or of an earlier run with the same options.
        short_side: in pixels.
        quality: of the JPEGs, 1 to 100.
        workers: how many threads.
        progress: wraps the iterable of blocks of 16 images, as tqdm does.

    Raises:
        DataError: no images, images that cannot be read (the first ten are named, after all others
            are written), two images for one name, or a target that holds something else.
    """
    src, dst = Path(source), Path(target)
    options = {"short_side": short_side, "quality": quality}
    paths = [path.relative_to(src) for path in find_images(src)] if src.is_dir() else []
    if not paths:
        raise DataError(f"{src}: no folder with images")
    _claim(src, dst, options)
    names = {path.as_posix(): _new_name(path) for path in paths}
    _check_unique(src, names)

    def rewrite(block: list[Path]) -> list[tuple[str, int, int] | str]:
        return [_rewrite(src / p, dst / names[p.as_posix()], short_side, quality) for p in block]

    blocks = [paths[i : i + _BLOCK] for i in range(0, len(paths), _BLOCK)]
    with ThreadPoolExecutor(workers, "ppcls-prepare") as pool:
        try:
            done = [each for block in progress(pool.map(rewrite, blocks)) for each in block]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    raise_problems([each for each in done if isinstance(each, str)])
    _copy_lists(src, dst, names)
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
        earlier = json.loads(made.read_text(encoding="utf-8"))
        if earlier != options:
            raise DataError(f"{dst}: prepared with {earlier}, not {options}; name another folder")
    elif dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise DataError(f"{dst}: holds something else; name a new folder")
    with replacing(made) as file:
        file.write_text(json.dumps(options) + "\n", encoding="utf-8")


def _new_name(path: Path) -> str:
    is_named_jpeg = path.suffix.lower() in _JPEG_SUFFIXES
    return path.as_posix() if is_named_jpeg else f"{path.as_posix()}.jpg"


def _check_unique(src: Path, names: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for old, new in names.items():
        if new in taken:
            raise DataError(f"{src}: {old} and {taken[new]} would both become {new}; rename one")
        taken[new] = old


def _rewrite(old: Path, new: Path, short_side: int, quality: int) -> tuple[str, int, int] | str:
    """Return what became of an image and its bytes before and after, or what is wrong with it."""
    try:
        before = old.stat().st_size
        if new.exists():
            return "kept", before, new.stat().st_size
        header = read_header(old)
        is_small = min(header.width, header.height) <= short_side
        if header.format == "JPEG" and header.mode in ("L", "RGB") and is_small:
            image.read(old)  # what cannot be read must not be copied
            kind, data = "copied", old.read_bytes()
        else:
            kind, data = "rewritten", _encode(image.read(old), header.mode, short_side, quality)
    except ImageError as error:
        return str(error)
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


def _copy_lists(src: Path, dst: Path, names: Mapping[str, str]) -> None:
    changed = any(old != new for old, new in names.items())
    for path in sorted(p for p in src.rglob("*") if p.suffix.lower() in _RENAMERS and p.is_file()):
        new = dst / path.relative_to(src)
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            text = path.read_text(encoding="utf-8-sig") if changed else None
        except UnicodeDecodeError:  # no list of ours
            text = None
        if text is None:
            shutil.copyfile(path, new)
            continue
        rename = _RENAMERS[path.suffix.lower()]
        with replacing(new) as file:
            file.write_text(rename(text, names), encoding="utf-8", newline="\n")


def _rename_txt(text: str, names: Mapping[str, str]) -> str:
    """Rename the paths that begin lines; whatever the delimiter, it is no letter or digit."""
    lines = []
    for line in text.split("\n"):
        ends = [i for i in range(len(line), 0, -1) if i == len(line) or not line[i].isalnum()]
        end = next((i for i in ends if line[:i] in names), 0)
        lines.append(names[line[:end]] + line[end:] if end else line)
    return "\n".join(lines)


def _rename_csv(text: str, names: Mapping[str, str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in csv.reader(io.StringIO(text)):
        writer.writerow([names.get(field, field) for field in row])
    return out.getvalue()


def _rename_jsonl(text: str, names: Mapping[str, str]) -> str:
    lines = []
    for line in text.split("\n"):
        try:
            record = json.loads(line)
            record["path"] = names.get(record["path"], record["path"])
            lines.append(json.dumps(record, ensure_ascii=False))
        except (ValueError, TypeError, KeyError):  # no record of an image
            lines.append(line)
    return "\n".join(lines)


_RENAMERS = {".txt": _rename_txt, ".csv": _rename_csv, ".jsonl": _rename_jsonl}
