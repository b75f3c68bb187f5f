"""Folders of images: walk them, read the samples of class folders, write lists of them."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppcls.data.image import IMAGE_SUFFIXES
from ppcls.data.lists import (
    LABEL_LIST,
    TRAIN_LIST,
    VAL_LIST,
    Sample,
    plain,
    read_label_names,
    shown,
)
from ppcls.errors import DataError
from ppcls.files import read_regular, replacing
from ppcls.spelling import did_you_mean, names_options

__all__ = [
    "Listed",
    "Split",
    "find_images",
    "folder_classes",
    "list_folder",
    "read_image_folder",
    "split_folder",
    "walk",
]


class Split(NamedTuple):
    """Result of `split_folder`: numbers of images and classes, and the files left out.

    Attributes:
        left_out: number of unlisted files by suffix, and of unlisted folders by name.
    """

    train: int
    val: int
    classes: int
    left_out: dict[str, int]


_SYSTEM_NAMES = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "recycler", "system volume information"),
    *("lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini"),
}
"""Files and folders that operating systems and file servers add to folders, in lower case."""

_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"}


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return the files and folders in a folder, sorted by name, without hidden and system ones.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            kept = [e for e in found if not e.name.startswith(".") and not _is_system(e.name)]
    except OSError as error:
        raise DataError(f"{plain(str(folder))}: cannot read the folder: {error.strerror}") from None
    return sorted(kept, key=lambda entry: entry.name)


def _is_system(name: str) -> bool:
    return name.lower() in _SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def walk(folder: str | Path) -> Iterator[str]:
    """Yield the path of every file below a folder, sorted as `Path` objects sort.

    Names that begin with a dot, and the files and folders of operating systems (`__MACOSX`,
    `@eaDir`, `Thumbs.db` …), are ignored. Links to files and to folders are followed. A folder that
    several links reach is read once. Links to nothing, pipes and devices count as files.

    Raises:
        DataError: a folder cannot be read, or a link leads to a folder that holds it.
    """
    seen: set[tuple[int, int]] = set()
    # A stack instead of recursion: folders may be nested deeper than Python's calls.
    waiting: list[str | os.DirEntry[str]] = [os.fspath(folder)]
    while waiting:
        at = waiting.pop()
        if not isinstance(at, str):
            if not _is_folder(at):
                yield at.path
                continue
            if at.is_symlink():
                _refuse_loop(at.path)
            at = at.path
        entries = _entries(at)
        found = os.stat(at)
        if (place := (found.st_dev, found.st_ino)) not in seen:
            seen.add(place)
            waiting += reversed(entries)


def _refuse_loop(link: str) -> None:
    real, parent = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
    if os.path.commonpath((real, parent)) == real:
        raise DataError(f"{plain(link)}: a link to {plain(real)}, which holds it; remove the link")


def _class_folders(folder: Path, allow_missing: bool = False) -> list[Path]:
    """Return the sub-folders of `folder`, sorted by name; raise if they cannot be classes."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    entries = _entries(folder)
    stray = [e for e in entries if _is_image(e.name) and not _is_folder(e)]
    if stray:
        first, count = plain(stray[0].path), len(stray)
        raise DataError(f"{first}: an image outside the class folders ({count} in all)")
    folders = [Path(e.path) for e in entries if _is_folder(e)]
    if len(folders) < (1 if allow_missing else 2):
        found = f"only {folders[0].name}" if folders else "no folder"
        raise DataError(f"{folder}: expected a folder of images for each class, found {found}")
    for each in folders:
        if each.name.lower() in _SPLIT_NAMES:
            raise DataError(
                f"{each}: expected a class, found the name of a split; a data set that is already "
                f"split holds its class folders in {folder / 'train'} and {folder / 'val'}"
            )
        if _breaks_lists(each.name) or each.name != each.name.strip():
            raise DataError(
                f"{shown(str(each))}: expected a class name in UTF-8, without control characters "
                "or blanks at its ends; rename the folder"
            )
    return folders


def _breaks_lists(name: str) -> bool:
    """Whether a name has control characters, line separators, or bytes that are not UTF-8."""
    return not name.isprintable() and any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name
    )


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _images(folder: Path, left_out: Counter[str]) -> list[str]:
    """Return the images anywhere under a class folder, sorted; count other files by suffix."""
    images = []
    for path in walk(folder):
        name = os.path.basename(path)
        if _is_image(name):
            images.append(path)
        elif name == "metrics.jsonl":
            raise DataError(f"{folder}: holds a training run, not a class; move it elsewhere")
        else:
            left_out[os.path.splitext(name)[1].lower() or "no suffix"] += 1
    return images


def _classes(
    folder: Path, left_out: Counter[str], allow_missing: bool = False
) -> dict[str, list[str]]:
    """Return the images of each class; raise if a class has none, unless that is allowed."""
    found = {each.name: _images(each, left_out) for each in _class_folders(folder, allow_missing)}
    empty = next((name for name, images in found.items() if not images), None)
    if empty is not None and not (allow_missing and any(found.values())):
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{folder / empty}: no images in this class folder (looked for {kinds})")
    return found


def folder_classes(folder: str | Path, allow_missing: bool = False) -> list[str]:
    """Return the class names of a folder in label order, which is sorted.

    With `allow_missing`, a single class is enough.

    Raises:
        DataError: no such folder, or it does not hold class folders.
    """
    return [each.name for each in _class_folders(Path(folder), allow_missing)]


def read_image_folder(
    folder: str | Path,
    class_num: int,
    classes: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> list[Sample]:
    """Return the images of a folder with one sub-folder per class, class by class, sorted by path.

    Args:
        folder: the folder.
        class_num: number of classes of the model.
        classes: names of the sub-folders in label order; some of them may be absent. None takes
            all sub-folders, sorted by name.
        allow_missing: whether sub-folders may be without images.

    Raises:
        DataError: a folder is not a class, is empty, or the number of classes does not match.
    """
    root = Path(folder)
    found = _classes(root, Counter(), allow_missing)
    names = list(classes or found)
    if len(names) != class_num:
        what = "names in `classes`" if classes else "class folders"
        raise DataError(f"{root}: {len(names)} {what} for Arch.class_num {class_num}")
    unknown = sorted(found.keys() - set(names))
    if unknown:
        hint = did_you_mean(unknown[0], names)
        raise DataError(f"{root / unknown[0]}: not one of the {len(names)} classes{hint}")
    return [Sample(path, label) for label, name in enumerate(names) for path in found.get(name, [])]


@names_options
def split_folder(
    folder: str | Path,
    val: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    allow_missing: bool = False,
) -> Split:
    """Write `train_list.txt`, `val_list.txt` and `label_list.txt` for a folder of class folders.

    If `folder` holds `train/` and `val/`, each with class folders, these become the two lists.
    Otherwise its sub-folders are the classes, and the share `val` of each class (None is a fifth)
    becomes the validation set; the same seed chooses the same images. Labels follow the sorted
    class names. With `allow_missing`, `val/` may lack classes of `train/`. See `walk` for names
    that are ignored.

    Raises:
        DataError: no such folder, fewer than two classes, a class that is empty or too small to
            split, a folder that is not a class, a share for a data set that is already split, a
            name that is not UTF-8, or existing lists with other content.
    """
    root = Path(folder)
    left_out: Counter[str] = Counter()
    if (root / "train").is_dir() and (root / "val").is_dir():
        if val is not None:
            raise DataError(f"{root}: already split into train/ and val/; leave out the share")
        train = _classes(root / "train", left_out)
        held_out = _classes(root / "val", left_out, allow_missing)
        never = sorted(held_out.keys() - train.keys())
        if never:
            raise DataError(f"{root}: these classes are in val/, but not in train/: {_some(never)}")
        missing = sorted(train.keys() - held_out.keys())
        if missing and not allow_missing:
            raise DataError(
                f"{root}: these classes are in train/, but not in val/: {_some(missing)}; if that "
                f"is meant, `ppcls data split {root} --allow-missing` writes the lists without them"
            )
        held_out = {name: held_out.get(name, []) for name in train}
        others = [e for e in _entries(root) if _is_folder(e) and e.name not in ("train", "val")]
        left_out.update(f"the folder {e.name}" for e in others)
    else:
        train, held_out = {}, {}
        rng = np.random.default_rng(seed)
        for name, images in _classes(root, left_out).items():
            if len(images) < 2:
                raise DataError(f"{root / name}: one image is too few for training and validation")
            share = 0.2 if val is None else val
            count = min(len(images) - 1, max(1, round(len(images) * share)))
            chosen = set(rng.permutation(len(images))[:count].tolist())
            train[name] = [p for i, p in enumerate(images) if i not in chosen]
            held_out[name] = [p for i, p in enumerate(images) if i in chosen]
    names = list(train)
    lists = {
        file: [
            f"{Path(path).relative_to(root).as_posix()} {label}"
            for label, name in enumerate(names)
            for path in part[name]
        ]
        for file, part in ((TRAIN_LIST, train), (VAL_LIST, held_out))
    }
    lists[LABEL_LIST] = [f"{label} {name}" for label, name in enumerate(names)]
    for file, lines in lists.items():
        _check_list(root / file, lines, overwrite)
    for file, lines in lists.items():
        _write_list(root / file, lines)
    return Split(len(lists[TRAIN_LIST]), len(lists[VAL_LIST]), len(names), dict(left_out))


def _some(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


class Listed(NamedTuple):
    """Result of `list_folder`, with the number of unlisted files by suffix."""

    path: Path
    images: int
    classes: int
    left_out: dict[str, int]


def list_folder(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    overwrite: bool = False,
) -> Listed:
    """Write one list of all images of a folder of class folders, and `label_list.txt` beside it.

    Args:
        folder: the folder; paths in the list are relative to it.
        out: the list to write, `.txt`, `.csv` or `.jsonl`; default `folder/image_list.txt`.
        labels: a label list that numbers the classes; without one, labels follow the sorted class
            names, and `label_list.txt` records them.
        overwrite: replace lists that differ.

    Raises:
        DataError: a folder is not a class, `labels` lacks a class, or lists exist with other
            content.
    """
    root = Path(folder)
    path = root / "image_list.txt" if out is None else Path(out)
    if path.suffix.lower() not in _LIST_ROWS:
        raise DataError(f"{path}: expected a name that ends in {', '.join(_LIST_ROWS)}")
    left_out: Counter[str] = Counter()
    classes = _classes(root, left_out)
    names = read_label_names(labels) if labels else list(classes)
    unknown = sorted(classes.keys() - set(names))
    if unknown:
        raise DataError(f"{root / unknown[0]}: not in {labels}{did_you_mean(unknown[0], names)}")
    row = _LIST_ROWS[path.suffix.lower()]
    lines = ["path,label"] if path.suffix.lower() == ".csv" else []
    for name, images in classes.items():
        label = names.index(name)
        lines += [row(Path(image).relative_to(root).as_posix(), label) for image in images]
    lists = {path: lines}
    if not labels:
        lists[path.parent / LABEL_LIST] = [f"{label} {name}" for label, name in enumerate(names)]
    for file, content in lists.items():
        _check_list(file, content, overwrite)
    for file, content in lists.items():
        _write_list(file, content)
    return Listed(path, sum(map(len, classes.values())), len(classes), dict(left_out))


def _csv_row(path: str, label: int) -> str:
    quoted = '"' + path.replace('"', '""') + '"' if set(path) & set(',"') else path
    return f"{quoted},{label}"


_LIST_ROWS: dict[str, Callable[[str, int], str]] = {
    ".txt": lambda path, label: f"{path} {label}",
    ".csv": _csv_row,
    ".jsonl": lambda path, label: json.dumps({"path": path, "label": label}, ensure_ascii=False),
}


def _write_list(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as new:
        new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _check_list(path: Path, lines: Sequence[str], overwrite: bool) -> None:
    for line in lines:
        if _breaks_lists(line):
            raise DataError(
                f"{shown(line)}: a file name that is not UTF-8 or has control characters; rename it"
            )
    if overwrite or not path.exists():
        return
    content = "".join(f"{line}\n" for line in lines).encode()
    try:
        same = read_regular(path, len(content)) == content
    except OSError:
        same = False
    if not same:
        raise DataError(f"{path} exists and differs; add --overwrite to replace it")


def find_images(folder: Path) -> list[Path]:
    """Return all image files under a folder (see `walk`), by suffix (any case), sorted by path.

    Raises:
        DataError: the folder, or one inside it, cannot be read.
    """
    return [Path(path) for path in walk(folder) if _is_image(os.path.basename(path))]
