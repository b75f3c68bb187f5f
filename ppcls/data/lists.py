"""Image lists and label lists: reading them with all that can be wrong, and making them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppcls.data.image import IMAGE_SUFFIXES, find_images
from ppcls.errors import DataError
from ppcls.files import replacing

__all__ = [
    "LABEL_LIST",
    "TRAIN_LIST",
    "VAL_LIST",
    "Sample",
    "Split",
    "class_names",
    "read_image_list",
    "read_label_names",
    "read_lines",
    "split_folder",
]

# Where PaddleClas keeps the names of the ImageNet classes, and what its configurations name.
_PUBLISHED_IMAGENET = "ppcls/utils/imagenet1k_label_list.txt"
TRAIN_LIST, VAL_LIST, LABEL_LIST = "train_list.txt", "val_list.txt", "label_list.txt"


class Sample(NamedTuple):
    """An image file and its class."""

    path: str
    label: int


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """Return the lines of a UTF-8 text file that are not blank, with their line numbers.

    Args:
        path: the file.
        what: what to call it in an error.

    Raises:
        DataError: the file is missing, unreadable, not UTF-8, or has no such line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(
            f"no such {what}: {path}{where}; --data DIR sets all paths to a folder that "
            "`ppcls data split DIR` or `ppcls data digits DIR` prepared"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the {what} is not UTF-8 (byte {error.start})") from None
    # Names may begin with a space; what follows the label is nothing.
    lines = [(i, line.rstrip()) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: the {what} is empty")
    return lines


def _raise_first(path: Path, problems: Sequence[tuple[int, str]]) -> None:
    if problems:
        line, problem = problems[0]
        more = f" (and {len(problems) - 1} more such lines)" if len(problems) > 1 else ""
        raise DataError(f"{path}:{line}: {problem}{more}")


def read_image_list(
    list_path: str | Path, image_root: str | Path, class_num: int, delimiter: str = " "
) -> list[Sample]:
    """Read an image list: `path<delimiter>label` on each line, paths relative to `image_root`.

    The label is what follows the last delimiter, so paths may contain it.

    Raises:
        DataError: the list is missing or empty, or a line has no label, a label that is not an
            integer in [0, class_num), or names a file that does not exist. Each kind is reported
            with the first line that has it and the number of others.
    """
    path, root = Path(list_path), os.fspath(image_root)
    samples: list[Sample] = []
    malformed, out_of_range, missing = [], [], []
    for number, line in read_lines(path, "image list"):
        name, found, label = line.rpartition(delimiter)
        if not found or not re.fullmatch("-?[0-9]+", label):
            malformed.append((number, f"expected 'path{delimiter}label', found {line!r}"))
            continue
        sample = Sample(os.path.join(root, name), int(label))
        if not 0 <= sample.label < class_num:
            out_of_range.append(
                (
                    number,
                    f"label {sample.label} is not in 0..{class_num - 1}; "
                    f"set Arch.class_num (now {class_num}) or mend the list",
                )
            )
        if not os.path.isfile(sample.path):
            missing.append(
                (number, f"no such image: {sample.path}; is image_root ({root}) the right folder?")
            )
        samples.append(sample)
    for problems in (malformed, out_of_range, missing):
        _raise_first(path, problems)
    return samples


def read_label_names(path: str | Path) -> list[str]:
    """Read a label list: `label name` on each line, labels 0, 1, 2 … in any order.

    The path that PaddleClas has for the 1000 ImageNet classes finds our copy from anywhere.

    Raises:
        DataError: the file is missing or empty, or a label is missing or there twice.
    """
    path = Path(path)
    if path.as_posix().endswith(_PUBLISHED_IMAGENET) and not path.exists():
        path = Path(__file__).with_name("imagenet1k_label_list.txt")
    names: dict[int, str] = {}
    problems = []
    for number, line in read_lines(path, "label list"):
        label, _, name = line.partition(" ")
        if not label.isdecimal() or not name.strip():
            problems.append((number, f"expected 'label name', found {line!r}"))
        elif int(label) in names:
            problems.append((number, f"label {label} is there twice"))
        else:
            names[int(label)] = name.strip()
    _raise_first(path, problems)
    gaps = sorted(set(range(len(names))) - set(names))
    if gaps:
        raise DataError(f"{path}: label {gaps[0]} is missing (labels must be 0..{len(names) - 1})")
    return [names[label] for label in range(len(names))]


def class_names(path: str | Path | None, class_num: int) -> list[str]:
    """Return the names of a model's classes: those of a label list, or their numbers without one.

    Raises:
        DataError: the label list is wrong, or holds another number of classes.
    """
    if path is None:
        return [str(label) for label in range(class_num)]
    names = read_label_names(path)
    if len(names) != class_num:
        raise DataError(f"{path}: {len(names)} class names for a model with {class_num} classes")
    return names


class Split(NamedTuple):
    """What `split_folder` has written: numbers of images and classes, and what it left out.

    Attributes:
        left_out: number of files by suffix, and of folders by name, that are in no list.
    """

    train: int
    val: int
    classes: int
    left_out: dict[str, int]


_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"}


def _classes(folder: Path, left_out: Counter[str]) -> dict[str, list[Path]]:
    """Return the images of each sub-folder of `folder`, by the sub-folder's name, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    entries = [e for e in sorted(folder.iterdir()) if not e.name.startswith(".")]
    stray = [e for e in entries if e.is_file() and e.suffix.lower() in IMAGE_SUFFIXES]
    if stray:
        raise DataError(f"{stray[0]}: an image outside the class folders ({len(stray)} in all)")
    folders = [e for e in entries if e.is_dir()]
    if len(folders) < 2:
        found = f"only {folders[0].name}" if folders else "no folder"
        raise DataError(f"{folder}: expected a folder of images for each class, found {found}")
    classes = {}
    for each in folders:
        if each.name.lower() in _SPLIT_NAMES:
            raise DataError(
                f"{each}: the name of a split, where a class is expected; a data set that is split "
                f"already holds the class folders in {folder / 'train'} and {folder / 'val'}"
            )
        if next(each.rglob("metrics.jsonl"), None):
            raise DataError(f"{each}: holds a training run, not a class; move it elsewhere")
        classes[each.name] = find_images(each)
        if not classes[each.name]:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"{each}: no images in this class folder (looked for {kinds})")
        files = [p for p in each.rglob("*") if p.is_file() and not p.name.startswith(".")]
        left_out.update(
            p.suffix.lower() or "no suffix" for p in files if p.suffix.lower() not in IMAGE_SUFFIXES
        )
    return classes


def split_folder(
    folder: str | Path, val: float | None = None, seed: int = 0, overwrite: bool = False
) -> Split:
    """Write `train_list.txt`, `val_list.txt` and `label_list.txt` for a folder of class folders.

    Where `folder` holds `train/` and `val/`, each with the class folders, those are the two
    lists. Otherwise its sub-folders are the classes, and a share `val` of each class (None is a
    fifth) is held out, the same images for the same seed. Classes are numbered in the order of
    their sorted names; names that begin with a dot are passed over.

    Raises:
        DataError: no folder, fewer than two classes, an empty class or one too small to split,
            folders that are no classes, a share for a set that is split already, a name that is
            not UTF-8, or lists that exist with other content.
    """
    root = Path(folder)
    left_out: Counter[str] = Counter()
    if (root / "train").is_dir() and (root / "val").is_dir():
        if val is not None:
            raise DataError(f"{root}: holds train/ and val/, so there is no share to choose")
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
                raise DataError(f"{root / name}: one image is too few to train on and to hold out")
            share = 0.2 if val is None else val
            count = min(len(images) - 1, max(1, round(len(images) * share)))
            chosen = set(rng.permutation(len(images))[:count].tolist())
            train[name] = [p for i, p in enumerate(images) if i not in chosen]
            held_out[name] = [p for i, p in enumerate(images) if i in chosen]
    names = list(train)
    lists = {
        file: [
            f"{path.relative_to(root).as_posix()} {label}"
            for label, name in enumerate(names)
            for path in part[name]
        ]
        for file, part in ((TRAIN_LIST, train), (VAL_LIST, held_out))
    }
    lists[LABEL_LIST] = [f"{label} {name}" for label, name in enumerate(names)]
    for file, lines in lists.items():
        _check_list(root / file, lines, overwrite)
    for file, lines in lists.items():
        with replacing(root / file) as new:
            new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return Split(len(lists[TRAIN_LIST]), len(lists[VAL_LIST]), len(names), dict(left_out))


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
