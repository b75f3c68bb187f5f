"""Inputs of a predictor: resolve files, folders, patterns, lists and in-memory images."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ppcls.data.folders import find_images
from ppcls.data.image import IMAGE_SUFFIXES
from ppcls.data.lists import Label, read_lines
from ppcls.errors import DataError

__all__ = ["Input", "find_inputs", "is_url", "sources_of"]


class Input(NamedTuple):
    """An image file or URL, and its label if a list states one."""

    path: Path | str
    label: Label | None = None


def is_url(name: Any) -> bool:
    """Whether a name is a URL to fetch."""
    return isinstance(name, str) and name.lower().startswith(("http://", "https://"))


def _from_list(path: Path) -> list[Input]:
    """Read `path` or `path label` lines, relative to the list's own folder.

    A label is a class, or 0 and 1 for each class: `0,1,0`.
    """
    found = []
    for _, line in read_lines(path, "image list"):
        labelled = re.fullmatch(r"(.+?)[ \t]+(-?[0-9]+|[01](?:,[01])+)", line)
        if labelled and not (path.parent / line).exists():
            label = labelled[2]
            several = "," in label
            flags = tuple(map(int, label.split(","))) if several else int(label)
            found.append(Input(path.parent / labelled[1], flags))
        else:
            found.append(Input(path.parent / line))
    return found


def _expand(name: str | PathLike[str]) -> list[Input] | None:
    """Return the images that a name stands for; None if there is no such file."""
    if isinstance(name, str) and is_url(name):
        return [Input(name)]
    path = Path(name).expanduser()
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
    matches = sorted(glob.glob(str(path), recursive=True))
    return find_inputs(matches) if matches else None


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
            raise DataError(f"{name}: no such file or folder")
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
