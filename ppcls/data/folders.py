"""Folders with one sub-folder of images per class: read their samples, write lists of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppcls.data.image import IMAGE_SUFFIXES
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST, Sample, read_label_names
from ppcls.errors import DataError
from ppcls.files import replacing
from ppcls.spelling import did_you_mean, names_options

__all__ = [
    "Listed",
    "Split",
    "find_images",
    "folder_classes",
    "list_folder",
    "read_image_folder",
    "split_folder",
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


_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"}


def _class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of `folder`, sorted by name; raise if they cannot be classes."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    entries = [e for e in sorted(folder.iterdir()) if not e.name.startswith(".")]
    stray = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES and e.is_file()]
    if stray:
        raise DataError(f"{stray[0]}: an image outside the class folders ({len(stray)} in all)")
    folders = [e for e in entries if e.is_dir()]
    if len(folders) < 2:
        found = f"only {folders[0].name}" if folders else "no folder"
        raise DataError(f"{folder}: expected a folder of images for each class, found {found}")
    for each in folders:
        if each.name.lower() in _SPLIT_NAMES:
            raise DataError(
                f"{each}: expected a class, found the name of a split; a data set that is already "
                f"split holds its class folders in {folder / 'train'} and {folder / 'val'}"
            )
    return folders


def _images(folder: Path, left_out: Counter[str]) -> list[str]:
    """Return the images anywhere under a class folder, sorted; count other files by suffix."""
    images = []
    for parent, _, names in os.walk(folder):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_SUFFIXES:
                images.append(os.path.join(parent, name))
            elif name == "metrics.jsonl":
                raise DataError(f"{folder}: holds a training run, not a class; move it elsewhere")
            elif not name.startswith("."):
                left_out[suffix or "no suffix"] += 1
    if not images:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{folder}: no images in this class folder (looked for {kinds})")
    return sorted(images, key=lambda path: path.split(os.sep))  # as Path objects sort


def _classes(folder: Path, left_out: Counter[str]) -> dict[str, list[str]]:
    return {each.name: _images(each, left_out) for each in _class_folders(folder)}


def folder_classes(folder: str | Path) -> list[str]:
    """Return the class names of a folder in label order, which is sorted.

    Raises:
        DataError: no such folder, or it does not hold class folders.
    """
    return [each.name for each in _class_folders(Path(folder))]


def read_image_folder(
    folder: str | Path, class_num: int, classes: Sequence[str] | None = None
) -> list[Sample]:
    """Return the images of a folder with one sub-folder per class, class by class, sorted by path.

    Args:
        folder: the folder.
        class_num: number of classes of the model.
        classes: names of the sub-folders in label order; some of them may be absent. None takes
            all sub-folders, sorted by name.

    Raises:
        DataError: a folder is not a class, is empty, or the number of classes does not match.
    """
    root = Path(folder)
    found = _classes(root, Counter())
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
    folder: str | Path, val: float | None = None, seed: int = 0, overwrite: bool = False
) -> Split:
    """Write `train_list.txt`, `val_list.txt` and `label_list.txt` for a folder of class folders.

    If `folder` holds `train/` and `val/`, each with class folders, these become the two lists.
    Otherwise its sub-folders are the classes, and the share `val` of each class (None is a fifth)
    becomes the validation set; the same seed chooses the same images. Labels follow the sorted
    class names. Names that begin with a dot are ignored.

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
        train, held_out = _classes(root / "train", left_out), _classes(root / "val", left_out)
        if train.keys() != held_out.keys():
            odd = ", ".join(sorted(train.keys() ^ held_out.keys()))
            raise DataError(f"{root}: these classes are in only one of train/ and val/: {odd}")
        others = [e for e in root.iterdir() if e.is_dir() and e.name not in ("train", "val")]
        left_out.update(f"the folder {e.name}" for e in others if not e.name.startswith("."))
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
        try:
            line.encode()
        except UnicodeEncodeError:
            shown = line.encode(errors="backslashreplace").decode()
            raise DataError(f"{shown}: a file name that is not UTF-8; rename it") from None
    if overwrite or not path.exists():
        return
    try:
        same = path.read_text(encoding="utf-8") == "".join(f"{line}\n" for line in lines)
    except (OSError, UnicodeDecodeError):
        same = False
    if not same:
        raise DataError(f"{path} exists and differs; add --overwrite to replace it")


def find_images(folder: Path) -> list[Path]:
    """Return all image files under a folder, by suffix (any case), sorted by path.

    Raises:
        DataError: the folder, or one inside it, cannot be read.
    """
    found = []
    for inside, _, names in os.walk(folder, onerror=_refuse_folder):
        paths = (Path(inside, name) for name in names)
        found += [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(found)


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot read the folder: {error.strerror}") from None
