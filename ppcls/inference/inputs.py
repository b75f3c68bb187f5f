"""Inputs of a predictor: resolve files, folders, patterns, lists and in-memory images."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ppcls.data.folders import find_images
from ppcls.data.image import IMAGE_SUFFIXES
from ppcls.data.lists import plain, read_lines
from ppcls.errors import DataError

__all__ = ["Input", "find_inputs", "is_url", "sources_of"]


class Input(NamedTuple):
    """An image file or URL, and its class if a list states one."""

    path: Path | str
    label: int | None = None


def is_url(name: Any) -> bool:
    """Whether a name is a URL to fetch."""
    return isinstance(name, str) and name.lower().startswith(("http://", "https://"))


def _from_list(path: Path) -> list[Input]:
    """Read `path` or `path label` lines, relative to the list's own folder."""
    found = []
    for _, line in read_lines(path, "image list"):
        end = max(line.rfind(" "), line.rfind("\t"))
        name, label = line[: max(end, 0)].rstrip(" \t"), line[end + 1 :]
        # Python refuses to read integers of very many digits; no model has so many classes.
        is_label = name and re.fullmatch("-?[0-9]{1,18}", label)
        if is_label and not (path.parent / line).exists():
            found.append(Input(path.parent / name, int(label)))
        else:
            found.append(Input(path.parent / line))
    return found


def _expand(name: str | PathLike[str]) -> list[Input] | None:
    """Return the images that a name stands for; None if there is no such file."""
    if isinstance(name, str) and is_url(name):
        return [Input(name)]
    path = Path(os.path.expanduser(name))
    found = _existing(path)
    if found is None and glob.has_magic(str(path)):
        try:
            matches = sorted(glob.glob(str(path), recursive=True))
        except ValueError:  # a zero byte
            return None
        # A match is a name, not another pattern. A link to nothing gives a result with an error.
        found = [one for match in matches for one in _existing(Path(match)) or [Input(Path(match))]]
    return found or None


def _existing(path: Path) -> list[Input] | None:
    """Return the images in a folder or a list, or the file itself; None if there is no file."""
    try:
        if path.is_dir():
            inside = [Input(p) for p in find_images(path)]
            if not inside:
                kinds = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"{path}: no images in this folder (looked for {kinds})")
            return inside
        if path.suffix.lower() == ".txt" and path.is_file():
            return _from_list(path)
        if path.exists():
            return [Input(path)]
    except (OSError, ValueError):  # no file has a name so long, or one with a zero byte
        return None
    return None


def find_inputs(names: Iterable[str | Path]) -> list[Input]:
    """Return the images that the names stand for, in the order given.

    A name is a file, a URL, a folder (searched recursively by suffix), a glob pattern, or a `.txt`
    list of `path` or `path label` lines relative to the list.

    Raises:
        DataError: a name stands for no image: no such file, or a folder or list without images.
    """
    found: list[Input] = []
    for name in names:
        inside = _expand(name)
        if inside is None:
            path = os.path.expanduser(name)
            target = f" (a link to {os.readlink(path)})" if os.path.islink(path) else ""
            raise DataError(f"{plain(str(name))}: no such file or folder{target}")
        found += inside
    return found


def _is_one(inputs: Any) -> bool:
    """Whether this is a single image or name, rather than several."""
    if isinstance(inputs, np.ndarray):
        return inputs.ndim != 4
    one = (str, PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(inputs, one) or hasattr(inputs, "read") or not isinstance(inputs, Iterable)


def _each(inputs: Iterable[Any]) -> Iterator[Any]:
    for one in inputs:
        if isinstance(one, (str, PathLike)):
            # A missing image gives a result with an error, at its place among the others.
            found = _expand(one)
            yield from [i.path for i in found] if found is not None else [one]
        else:
            yield one


def sources_of(inputs: Any) -> Sequence[Any] | Iterator[Any]:
    """Return the single images of an argument of `Predictor.predict`.

    A sequence means that all images are available; an iterator provides them one by one.

    Raises:
        DataError: a folder or list has no images, or cannot be read.
    """
    if _is_one(inputs):
        return list(_each([inputs]))
    if isinstance(inputs, np.ndarray):
        return list(inputs)
    if isinstance(inputs, Sequence):
        return list(_each(inputs))
    return _each(inputs)
