"""Image lists and label lists: read them, and name every problem in them."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from ppcls.errors import DataError

__all__ = [
    "IMAGENET_CLASSES",
    "LABEL_LIST",
    "LIST_SUFFIXES",
    "PUBLISHED_IMAGENET",
    "TRAIN_LIST",
    "VAL_LIST",
    "Label",
    "Sample",
    "are_imagenet_names",
    "class_names",
    "different_names",
    "raise_problems",
    "read_image_list",
    "read_label_names",
    "read_lines",
    "scan_image_list",
]

# PaddleClas keeps the ImageNet class names here, and its configurations name this path.
PUBLISHED_IMAGENET = "ppcls/utils/imagenet1k_label_list.txt"
IMAGENET_CLASSES = 1000
TRAIN_LIST, VAL_LIST, LABEL_LIST = "train_list.txt", "val_list.txt", "label_list.txt"

LIST_SUFFIXES = (".txt", ".csv", ".jsonl")

_NAMED_PROBLEMS = 10

Label = int | tuple[int, ...]
"""A class; for a multi-label sample, 0 or 1 for each class."""


class Sample(NamedTuple):
    """An image file and its label, in any data set."""

    path: str
    label: Label


def read_lines(path: Path, what: str, hint: str = "") -> list[tuple[int, str]]:
    """Return the non-blank lines of a UTF-8 text file with their line numbers.

    Args:
        path: the file.
        what: its name in errors.
        hint: advice in the error if the file is missing.

    Raises:
        DataError: the file is missing, unreadable, not UTF-8, or has only blank lines.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(f"no such {what}: {path}{where}{hint}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the {what} is not UTF-8 (byte {error.start})") from None
    # Names may begin with a space; nothing follows the label.
    lines = [(i, line.rstrip()) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: the {what} is empty")
    return lines


def raise_problems(problems: Sequence[str]) -> None:
    """Raise a DataError with the first ten problems, one a line, if there are any."""
    if problems:
        shown = list(problems[:_NAMED_PROBLEMS])
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more problems")
        raise DataError(*shown)


# Image lists --------------------------------------------------------------------------------------


class _Malformed(Exception):
    """A malformed line of a list."""


def _text_record(line: str, delimiter: str) -> tuple[str, str]:
    name, found, label = line.rpartition(delimiter)
    if not found:
        raise _Malformed(f"expected 'path{delimiter}label', found {line!r}")
    return name, label


def _json_record(line: str) -> tuple[str, Any]:
    try:
        record = json.loads(line)
        name, label = record["path"], record["label"]
    except (ValueError, TypeError, KeyError):
        name = label = None
    if not isinstance(name, str):
        raise _Malformed(f'expected {{"path": "…", "label": …}}, found {line!r}')
    return name, label


def _csv_records(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
    rows = csv.reader(line for _, line in lines)
    header = [name.strip() for name in next(rows)]
    if not {"path", "label"} <= set(header):
        found = ", ".join(header)
        raise DataError(f"{path}:1: expected a header with the columns path, label, found {found}")
    name, label = header.index("path"), header.index("label")
    for row in rows:
        number = lines[rows.line_num - 1][0]
        fields = row + [""] * (len(header) - len(row))
        yield number, fields[name], fields[label].strip()


def _parse_class(label: Any, class_num: int, set_by: str) -> int:
    if isinstance(label, str) and re.fullmatch("-?[0-9]+", label):
        label = int(label)
    if type(label) is not int:
        raise _Malformed(f"expected an integer label, found {label!r}")
    if not 0 <= label < class_num:
        other = f"set {set_by} (now {class_num}) or " if set_by else ""
        raise _Malformed(f"label {label} is not in 0..{class_num - 1}; {other}correct the list")
    return label


_FLAGS = {"0": 0, "1": 1, 0: 0, 1: 1}


def _parse_flags(label: Any, class_num: int, set_by: str) -> tuple[int, ...]:
    flags = label.split(",") if isinstance(label, str) else label
    try:
        parsed = tuple(_FLAGS[flag] for flag in flags)
    except (KeyError, TypeError):
        raise _Malformed(f"expected 0 or 1 for each class, found {label!r}") from None
    if len(parsed) != class_num:
        other = f"set {set_by} or " if set_by else ""
        raise _Malformed(f"{len(parsed)} labels for {class_num} classes; {other}correct the list")
    return parsed


def scan_image_list(
    list_path: str | Path,
    image_root: str | Path,
    class_num: int,
    *,
    delimiter: str = " ",
    multi_label: bool = False,
    set_by: str = "",
    hint: str = "",
) -> tuple[list[Sample], list[str]]:
    """Return the valid samples of an image list, and one line for each problem.

    The suffix determines the format. All are UTF-8, with paths relative to `image_root`:

    - `.csv`: a header with the columns `path` and `label`, then a row for each image;
    - `.jsonl`: an object `{"path": "…", "label": …}` on each line;
    - any other: `path<delimiter>label` on each line. The label follows the last delimiter, so
      paths may contain the delimiter.

    A label is an integer in [0, class_num); with `multi_label`, 0 or 1 for each class: `0,1,0`,
    or a list in `.jsonl`.

    Only messages use `set_by` (the option that sets `class_num`) and `hint` (how to set the path).

    Raises:
        DataError: the list is missing, not UTF-8, empty, or a `.csv` without the header.
    """
    path, root = Path(list_path), os.fspath(image_root)
    lines = read_lines(path, "image list", hint)
    kind = path.suffix.lower()
    parse = _parse_flags if multi_label else _parse_class
    samples: list[Sample] = []
    problems: list[str] = []
    rows = _csv_records(path, lines) if kind == ".csv" else None
    where = f"; is image_root ({root}) the right folder?"
    for number, *record in rows or lines:
        try:
            if rows is not None:
                name, label = record
            elif kind == ".jsonl":
                name, label = _json_record(record[0])
            else:
                name, label = _text_record(record[0], delimiter)
            sample = Sample(os.path.join(root, name), parse(label, class_num, set_by))
        except _Malformed as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if os.path.isfile(sample.path):
            samples.append(sample)
        else:
            problems.append(f"{path}:{number}: no such image: {sample.path}{where}")
            where = ""
    return samples, problems


def read_image_list(
    list_path: str | Path,
    image_root: str | Path,
    class_num: int,
    *,
    delimiter: str = " ",
    multi_label: bool = False,
) -> list[Sample]:
    """Return the samples of an image list (see `scan_image_list`).

    Raises:
        DataError: the list cannot be read, or a line is malformed, has a label out of range, or
            names a missing file. The message names the first ten problems.
    """
    samples, problems = scan_image_list(
        list_path, image_root, class_num, delimiter=delimiter, multi_label=multi_label
    )
    raise_problems(problems)
    return samples


# Label lists --------------------------------------------------------------------------------------


def read_label_names(path: str | Path, hint: str = "") -> list[str]:
    """Read a label list: `label name` on each line, labels 0, 1, 2 … in any order.

    PaddleClas's path of the 1000 ImageNet classes finds our copy from any working folder. `hint`
    ends the message about a missing file.

    Raises:
        DataError: the file is missing or empty, or a label is missing or duplicate.
    """
    path = Path(path)
    if path.as_posix().endswith(PUBLISHED_IMAGENET) and not path.exists():
        path = Path(__file__).with_name("imagenet1k_label_list.txt")
    names: dict[int, str] = {}
    problems = []
    for number, line in read_lines(path, "label list", hint):
        label, _, name = line.partition(" ")
        if not label.isdecimal() or not name.strip():
            problems.append(f"{path}:{number}: expected 'label name', found {line!r}")
        elif int(label) in names:
            problems.append(f"{path}:{number}: duplicate label {label}")
        else:
            names[int(label)] = name.strip()
    raise_problems(problems)
    gaps = sorted(set(range(len(names))) - set(names))
    if gaps:
        raise DataError(f"{path}: label {gaps[0]} is missing (labels must be 0..{len(names) - 1})")
    return [names[label] for label in range(len(names))]


def are_imagenet_names(path: str | Path) -> bool:
    """Whether a path is PaddleClas's path of the ImageNet classes, and holds that many names."""
    try:
        return (
            Path(path).as_posix().endswith(PUBLISHED_IMAGENET)
            and len(read_label_names(path)) == IMAGENET_CLASSES
        )
    except DataError:
        return False


def different_names(found: Sequence[str], known: Sequence[str]) -> str:
    """Describe the first label that two lists of class names name differently, or return "".

    Numbers instead of names do not identify a class, so they match any name.
    """
    if any(list(names) == [str(i) for i in range(len(names))] for names in (found, known)):
        return ""
    for label, names in enumerate(zip_longest(found, known)):
        one, other = ("absent" if name is None else repr(name) for name in names)
        if one != other:
            return f"label {label} is {one}, and {other}"
    return ""


def class_names(path: str | Path | None, class_num: int, hint: str = "") -> list[str]:
    """Return the class names of a model from a label list, or class numbers without one.

    Raises:
        DataError: the label list is invalid, or its number of classes does not match.
    """
    if path is None:
        return [str(label) for label in range(class_num)]
    names = read_label_names(path, hint)
    if len(names) != class_num:
        raise DataError(
            f"{path}: {len(names)} class names for a model with {class_num} classes; "
            "-o Infer.PostProcess.class_id_map_file=FILE names a list that fits, and null numbers "
            "the classes"
        )
    return names
