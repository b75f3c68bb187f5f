"""From what a user names to the images meant: files, folders, and lists."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ppcls.data.image import IMAGE_SUFFIXES, find_images
from ppcls.data.lists import read_lines
from ppcls.errors import DataError

__all__ = ["Input", "find_inputs"]


class Input(NamedTuple):
    """An image file, and its class where a list says so."""

    path: Path
    label: int | None = None


def _from_list(path: Path) -> list[Input]:
    """Read `path` or `path label` lines, relative to the list's own folder."""
    found = []
    for _, line in read_lines(path, "image list"):
        labelled = re.fullmatch(r"(.+?)[ \t]+(-?[0-9]+)", line)
        if labelled and not (path.parent / line).exists():
            found.append(Input(path.parent / labelled[1], int(labelled[2])))
        else:
            found.append(Input(path.parent / line))
    return found


def find_inputs(names: Iterable[str | Path]) -> list[Input]:
    """Return the images that the names stand for, in the order given.

    A name is a file, a folder (searched through, by suffix), a glob pattern, or a `.txt` list of
    `path` or `path label` lines relative to the list.

    Raises:
        DataError: a name stands for nothing: no such file, a folder or list without images.
    """
    found: list[Input] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = [Input(p) for p in find_images(path)]
            if not inside:
                kinds = ", ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"{path}: no images in this folder (looked for {kinds})")
        elif path.suffix.lower() == ".txt" and path.is_file():
            inside = _from_list(path)
        elif path.exists():
            inside = [Input(path)]
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            if not matches:
                raise DataError(f"{path}: no such file or folder")
            inside = find_inputs(matches)
        found += inside
    return found
