"""Image lists and label lists: read them, and name every problem in them."""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ppcls.errors import DataError
from ppcls.files import check_regular

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
    "lines_of",
    "missing_image",
    "plain",
    "raise_problems",
    "read_image_list",
    "read_label_names",
    "read_lines",
    "scan_image_list",
    "shown",
]

# PaddleClas keeps the ImageNet class names here, and its configurations name this path.
PUBLISHED_IMAGENET = "ppcls/utils/imagenet1k_label_list.txt"
IMAGENET_CLASSES = 1000
TRAIN_LIST, VAL_LIST, LABEL_LIST = "train_list.txt", "val_list.txt", "label_list.txt"

LIST_SUFFIXES = (".txt", ".csv", ".jsonl")

_NAMED_PROBLEMS = 10

_MAX_LIST = 2**30
_MAX_LINE = 2**20
"""Bounds of a list or label file, in bytes; the labels of 500,000 classes fit in a line."""

_LONGEST_SHOWN = 200  # characters of a value in a message
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _LONGEST_SHOWN

Label = int | tuple[int, ...]
"""A class; for a multi-label sample, 0 or 1 for each class."""


class Sample(NamedTuple):
    """An image file and its label, in any data set."""

    path: str
    label: Label


def shown(value: Any) -> str:
    """Return a value found in a file for a message: quoted, escaped, and at most 200 characters."""
    return _REPR.repr(value)


def plain(path: str) -> str:
    """Return a path for a message; quoted and escaped where its ends would not be seen."""
    plain = path.isprintable() and path == path.strip() and len(path) <= _LONGEST_SHOWN
    return path if plain else shown(path)


def read_lines(path: Path, what: str, hint: str = "") -> list[tuple[int, str]]:
    """Return the non-blank lines of a UTF-8 text file with their line numbers.

    Args:
        path: the file.
        what: its name in errors.
        hint: advice in the error if the file is missing.

    Raises:
        DataError: the file is missing, unreadable, not a regular file, larger than 1 GiB, not
            UTF-8, has a line longer than 1 MiB, or has only blank lines.
    """
    try:
        check_regular(path, _MAX_LIST)
        with path.open("rb") as file:
            return lines_of(file, str(path), what)
    except FileNotFoundError:
        where = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(f"no such {what}: {path}{where}{hint}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read the {what}: {error.strerror}") from None
    except ValueError:  # a name with a zero byte, or one that the file system cannot encode
        raise DataError(f"no such {what}: {shown(str(path))}{hint}") from None


def lines_of(file: BinaryIO, where: str, what: str) -> list[tuple[int, str]]:
    """Return the non-blank lines of an open file, as `read_lines` does.

    Args:
        file: the file, or a stream.
        where: its path in errors.
        what: its name in errors.

    Raises:
        DataError: it is larger than 1 GiB, not UTF-8, has a line longer than 1 MiB, or has only
            blank lines.
        OSError: it cannot be read.
    """
    found: list[tuple[int, str]] = []
    left = _MAX_LIST
    for number, line in enumerate(_raw_lines(file), 1):
        left -= len(line)
        if len(line) > _MAX_LINE or left < 0:
            limit = f"is longer than {_MAX_LINE >> 20} MiB"
            if left < 0:
                limit = f"is beyond {_MAX_LIST >> 20} MiB"
            article = "an" if what[0] in "aeiou" else "a"
            raise DataError(f"{where}:{number}: the line {limit}; is this {article} {what}?")
        try:
            text = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}:{number}: the {what} is not UTF-8 (byte {error.start})"
            ) from None
        # Names may begin with a space; nothing follows the label.
        if text := text.rstrip():
            found.append((number, text))
    if not found:
        raise DataError(f"{where}: the {what} is empty")
    return found


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file, which end with LF, CR LF or CR; an overlong one is cut."""
    for line in iter(partial(file.readline, _MAX_LINE + 1), b""):
        yield from line.rstrip(b"\r\n").split(b"\r")


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


class _OutOfRange(_Malformed):
    """A label that is not one of the classes."""


def _text_record(line: str, delimiter: str) -> tuple[str, str]:
    name, found, label = line.rpartition(delimiter)
    if not found:
        raise _Malformed(f"expected {f'path{delimiter}label'!r}, found {shown(line)}")
    return name, label


def _json_record(line: str) -> tuple[str, Any]:
    try:
        record = json.loads(line)
        name, label = record["path"], record["label"]
    except (ValueError, TypeError, KeyError, RecursionError):
        name = label = None
    if not isinstance(name, str):
        raise _Malformed(f'expected {{"path": "…", "label": …}}, found {shown(line)}')
    return name, label


def _csv_records(path: Path, lines: list[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
    rows = csv.reader(line for _, line in lines)
    try:
        header = [name.strip() for name in next(rows)]
        if not {"path", "label"} <= set(header):
            other = next((d for d in ";\t|" if {"path", "label"} <= set(header[0].split(d))), None)
            hint = f"; it is separated by {other!r}: save it with commas" if other else ""
            raise DataError(
                f"{path}:{lines[0][0]}: expected a header with the columns path, label, found "
                f"{shown(lines[0][1])}{hint}"
            )
        name, label = header.index("path"), header.index("label")
        for row in rows:
            number = lines[rows.line_num - 1][0]
            fields = row + [""] * (len(header) - len(row))
            yield number, fields[name], fields[label].strip()
    except csv.Error as error:
        number = lines[min(rows.line_num, len(lines)) - 1][0]
        raise DataError(f"{path}:{number}: not a line of a CSV file: {error}") from None


def _parse_class(label: Any, class_num: int, set_by: str) -> int:
    # Python refuses to read integers of very many digits.
    if isinstance(label, str) and re.fullmatch("-?[0-9]{1,18}", label):
        label = int(label)
    if type(label) is not int:
        raise _Malformed(f"expected an integer label, found {shown(label)}")
    if not 0 <= label < class_num:
        other = f"set {set_by} (now {class_num}) or " if set_by else ""
        raise _OutOfRange(
            f"label {shown(label)} is not in 0..{class_num - 1}; {other}correct the list", label
        )
    return label


_FLAGS = {"0": 0, "1": 1, 0: 0, 1: 1}


def _parse_flags(label: Any, class_num: int, set_by: str) -> tuple[int, ...]:
    flags = label.split(",") if isinstance(label, str) else label
    try:
        parsed = tuple(_FLAGS[flag] for flag in flags)
    except (KeyError, TypeError):
        raise _Malformed(f"expected 0 or 1 for each class, found {shown(label)}") from None
    if len(parsed) != class_num:
        other = f"set {set_by} or " if set_by else ""
        raise _Malformed(f"{len(parsed)} labels for {class_num} classes; {other}correct the list")
    return parsed


# Repairs that are tried for the first problems of a list, and named if the image is then there.
_NAME_REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda name: name),
    ("with / for \\", lambda name: name.replace("\\", "/")),
    ("without the blanks around it", str.strip),
    ("without the quotes around it", lambda name: name.strip("\"' ")),
    ("without the / before it", lambda name: name.lstrip("/\\").replace("\\", "/")),
    ("in Unicode's composed form", partial(unicodedata.normalize, "NFC")),
    ("in Unicode's decomposed form", partial(unicodedata.normalize, "NFD")),
)


def missing_image(name: str, root: str, listed_in: Path) -> tuple[str, str]:
    """Describe a line of a list that names no image file: the problem, and advice.

    Args:
        name: the path in the list.
        root: the folder that it is relative to.
        listed_in: the list.
    """
    path = os.path.join(root, name)
    if os.path.isdir(path):
        return f"a folder, not an image: {plain(path)}", ""
    if os.path.exists(path):
        return f"not a regular file: {plain(path)}", ""
    text = f"no such image: {plain(path) if name == name.strip() else shown(path)}"
    folders = (root, ".", os.path.dirname(os.path.abspath(root)), str(listed_in.parent))
    for folder in dict.fromkeys(folders):
        for how, repair in _NAME_REPAIRS:
            fixed = repair(name)
            found = os.path.join(folder, fixed)
            if fixed and found != path and os.path.isfile(found):
                ways = [f"the path {how}"] * bool(how) + [f"image_root {folder}"] * (folder != root)
                return text, f"; it is there with {' and '.join(ways)}"
    return text, f"; is image_root ({root}) the right folder?"


def _other_delimiter(line: str, delimiter: str, parse: Callable[[Any], Any]) -> str:
    """Name another delimiter that divides a malformed line into a path and a label, if any."""
    for other in ("\t", ",", ";", "|", " "):
        name, _, label = line.rpartition(other)
        if other != delimiter and name.strip():
            try:
                parse(label.strip())
            except _Malformed as error:
                if not isinstance(error, _OutOfRange):
                    continue
            return f"; the line fits the delimiter {other!r} instead of {delimiter!r}"
    return ""


def _begins_at_one(path: Path, lowest: int, class_num: int, set_by: str) -> str:
    other = f", or set {set_by} to {class_num + 1} if class 0 has no image" if set_by else ""
    return (
        f"{path}: its labels are {lowest} to {class_num}, expected 0 to {class_num - 1}: do they "
        f"begin at 1? Subtract 1 from each{other}"
    )


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
    parse: Callable[[Any], Label] = partial(
        _parse_flags if multi_label else _parse_class, class_num=class_num, set_by=set_by
    )
    samples: list[Sample] = []
    problems: list[str] = []
    beyond: dict[int, int] = {}  # labels that are not classes, by the number of their problem
    lowest = class_num
    told = {""}  # each advice once is enough
    rows = _csv_records(path, lines) if kind == ".csv" else None
    for number, *record in rows or lines:
        problem = advice = ""
        try:
            if rows is not None:
                name, label = record
            elif kind == ".jsonl":
                name, label = _json_record(record[0])
            else:
                name, label = _text_record(record[0], delimiter)
            sample = Sample(os.path.join(root, name), parse(label))
        except _OutOfRange as error:
            beyond[len(problems)] = error.args[1]
            problem = error.args[0]
        except _Malformed as error:
            problem = str(error)
            if kind not in (".csv", ".jsonl") and len(problems) < _NAMED_PROBLEMS:
                advice = _other_delimiter(record[0], delimiter, parse)
        else:
            if isinstance(sample.label, int):
                lowest = min(lowest, sample.label)
            if os.path.isfile(sample.path):
                samples.append(sample)
            elif len(problems) < _NAMED_PROBLEMS:
                problem, advice = missing_image(name, root, path)
            else:
                problem = f"no such image: {plain(sample.path)}"
        if problem:
            problems.append(f"{path}:{number}: {problem}{'' if advice in told else advice}")
            told.add(advice)
    if lowest > 0 and set(beyond.values()) == {class_num}:
        problems = [
            _begins_at_one(path, lowest, class_num, set_by),
            *(line for i, line in enumerate(problems) if i not in beyond),
        ]
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
        if not re.fullmatch("[0-9]{1,18}", label) or not name.strip():
            problems.append(f"{path}:{number}: expected 'label name', found {shown(line)}")
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
