"""Inputs of a predictor: resolve files, folders, patterns, lists and in-memory images."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ppcls.data.folders import find_images
from ppcls.data.image import IMAGE_SUFFIXES, read_object
from ppcls.data.lists import LIST_SUFFIXES, Label, lines_of, plain, read_lines
from ppcls.errors import ConfigError, DataError

__all__ = ["STANDARD_INPUT", "Input", "PipedImage", "find_inputs", "is_url", "sources_of"]

STANDARD_INPUT = "-"


class PipedImage(bytes):
    """An encoded image from standard input, which records and errors call `-`."""

    filename = STANDARD_INPUT


class Input(NamedTuple):
    """An image file, URL or piped image, and its label if a list states one."""

    path: Path | str | PipedImage
    label: Label | None = None


def is_url(name: Any) -> bool:
    """Whether a name is a URL to fetch."""
    return isinstance(name, str) and name.lower().startswith(("http://", "https://"))


def _from_list(name: Path | str) -> list[Input]:
    """Read `path` or `path label` lines, relative to the list's own folder.

    `-` is standard input, where paths are relative to the current folder. A label is a class, or 0
    and 1 for each class: `0,1,0`.
    """
    if name == STANDARD_INPUT:
        where, folder = "standard input", Path()
        lines = _piped_lines()
    else:
        path = Path(os.path.expanduser(name))
        where, folder = str(path), path.parent
        lines = read_lines(path, "image list")
    found = []
    for number, line in lines:
        end = max(line.rfind(" "), line.rfind("\t"))
        stated, label = line[: max(end, 0)].rstrip(" \t"), line[end + 1 :]
        # Python refuses to read integers of very many digits; no model has so many classes.
        is_label = stated and re.fullmatch("-?[0-9]{1,18}|[01](?:,[01])+", label)
        if is_label and not (folder / line).exists():
            several = "," in label
            flags = tuple(map(int, label.split(","))) if several else int(label)
            one = Input(folder / stated, flags)
        else:
            one = Input(folder / line)
        _refuse_several(Path(str(one.path)), f"{where}:{number}")
        found.append(one)
    return found


def _piped_lines() -> list[tuple[int, str]]:
    """Return the non-blank lines of standard input, UTF-8, with their line numbers."""
    try:
        return lines_of(sys.stdin.buffer, "standard input", "image list")
    except DataError as error:
        hint = "; for an image, write - without --list" if "UTF-8" in str(error) else ""
        raise DataError(f"{error}{hint}") from None


def _refuse_several(path: Path, where: str) -> None:
    """Raise `DataError` if a line of a list names a folder or another list."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES and (suffix in LIST_SUFFIXES or os.path.isdir(path)):
        kind = "another list" if suffix in LIST_SUFFIXES else "a folder"
        raise DataError(
            f"{where}: {path} is {kind}; every line names one image (name folders and lists on "
            "the command line)"
        )


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


def find_inputs(names: Iterable[str | Path], lists: Iterable[str | Path] = ()) -> list[Input]:
    """Return the images that the names stand for, in the order given, then those of the lists.

    Args:
        names: a name is a file, a URL, a folder (searched recursively by suffix), a glob pattern, a
            `.txt` list of `path` or `path label` lines relative to the list, or `-` for an encoded
            image from standard input.
        lists: files of such lines, of any suffix, or `-` for standard input, where paths are
            relative to the current folder.

    Raises:
        DataError: a name stands for no image: no such file, a folder or list without images, a list
            with a folder or another list in it, or nothing on standard input.
        ConfigError: standard input is named twice.
    """
    names, lists = list(names), list(lists)
    if [*names, *lists].count(STANDARD_INPUT) > 1:
        raise ConfigError("- is standard input, which can be read only once")
    found: list[Input] = []
    for name in names:
        if name == STANDARD_INPUT:
            data = read_object(sys.stdin.buffer, "standard input")
            if not data:
                raise DataError("standard input is empty; - reads an encoded image from it")
            found.append(Input(PipedImage(data)))
            continue
        inside = _expand(name)
        if inside is None:
            path = os.path.expanduser(name)
            target = f" (a link to {os.readlink(path)})" if os.path.islink(path) else ""
            raise DataError(f"{plain(str(name))}: no such file or folder{target}")
        found += inside
    for one in lists:
        found += _from_list(one)
    return found


def _is_one(inputs: Any) -> bool:
    """Whether this is a single image or name, rather than several."""
    if isinstance(inputs, np.ndarray):
        return inputs.ndim != 4
    one = (str, PathLike, bytes, bytearray, memoryview, Image.Image)
    return isinstance(inputs, one) or hasattr(inputs, "read") or not isinstance(inputs, Iterable)


def _each(inputs: Iterable[Any]) -> Iterator[Any]:
    for one in inputs:
        if isinstance(one, Input):  # stands for itself alone
            yield one.path
        elif isinstance(one, (str, PathLike)):
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
