"""Data checks: a quick one before every run, and a thorough one on request."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ppcls.data import image
from ppcls.data.datasets import Dataset
from ppcls.data.image import read_header
from ppcls.data.lists import Label, Sample, raise_problems
from ppcls.data.map_ahead import map_ahead
from ppcls.errors import DataError, ImageError

__all__ = ["Checkup", "Part", "check_data", "coverage", "quick_check"]

_HEADERS, _HEADER_SECONDS = 1000, 0.3
_SMALL = 32
_BLOCK = 32
_FROM_ONE = ": do the labels begin at 1?"


def quick_check(
    parts: Mapping[str, Dataset], class_num: int, channels: int = 3
) -> dict[str, list[Sample]]:
    """Read the lists of a run, check the headers of some images, and return the samples by part.

    Problems are labels out of range, missing files, and headers that are invalid or state other
    `channels` (unless `on_error` skips unreadable images). The check opens up to a thousand images
    spread over each part, for at most 0.3 s.

    Raises:
        DataError: the first ten problems, one a line.
    """
    found, problems = {}, []
    for name, part in parts.items():
        found[name], wrong = part.scan(class_num)
        problems += wrong
        if part.on_error == "error":
            problems += _header_problems(found[name], channels)
    raise_problems(problems)
    return found


def _header_problems(samples: Sequence[Sample], channels: int) -> list[str]:
    count = min(_HEADERS, len(samples))
    chosen = np.unique(np.linspace(0, len(samples) - 1, count).astype(int))
    problems = []
    end = time.perf_counter() + _HEADER_SECONDS
    # This order covers the whole list even if the time is up early.
    for index in np.random.default_rng(0).permutation(chosen).tolist():
        try:
            read_header(samples[index].path, channels=channels)
        except ImageError as error:
            problems.append(str(error))
        if time.perf_counter() > end:
            break
    return sorted(problems)


def coverage(
    parts: Mapping[str, Sequence[Sample]], class_num: int, names: Sequence[str]
) -> list[str]:
    """Compare the classes of the parts of a run with each other and with the number of classes.

    Args:
        parts: the samples of `Train` and, if the run evaluates, of `Eval`.
        class_num: number of classes of the model.
        names: class names.

    Returns:
        A line for each kind of class that training never shows.

    Raises:
        DataError: the parts number their classes differently, or have none in common.
    """
    found = {part: _present(samples, class_num) for part, samples in parts.items()}
    train, held_out = found.get("Train", set()), found.get("Eval", set())
    if not train:  # images without labels
        return []
    _refuse_other_numbers(train, held_out)
    notes = []
    if untrained := sorted(held_out - train):
        notes.append(
            f"{_named(untrained, names)} in Eval, but not in Train: the model cannot learn to "
            "predict what training never shows"
        )
    if empty := sorted(set(range(class_num)) - train - held_out):
        hint, highest = _FROM_ONE if empty == [0] else "", max(train | held_out)
        if highest == class_num - len(empty) - 1:
            hint = f": the highest label is {highest}; is Arch.class_num ({class_num}) right?"
        notes.append(f"no image of {_named(empty, names)}{hint}")
    return notes


def _refuse_other_numbers(train: set[int], held_out: set[int]) -> None:
    if not held_out:
        return
    ranges = (
        f"the labels of Train are {min(train)} to {max(train)}, and those of Eval "
        f"{min(held_out)} to {max(held_out)}"
    )
    for part, one, other in (("Train", train, held_out), ("Eval", held_out, train)):
        if len(one) > 2 and min(one) == 1 and {label - 1 for label in one} == other:
            raise DataError(
                f"{ranges}: do those of {part} begin at 1? Number the classes of both from 0"
            )
    if not train & held_out:
        raise DataError(f"{ranges}, without a class in common: are these lists of one data set?")


def _present(samples: Sequence[Sample], class_num: int) -> set[int]:
    """Return the classes that have samples."""
    found: set[int] = set()
    for sample in samples:
        found.update(_classes_of(sample.label))
        if len(found) == class_num:
            break
    return found


def _named(classes: Sequence[int], names: Sequence[str]) -> str:
    """Return the number of classes and the first five of their labels and names."""
    shown = ", ".join(
        f"{label}" if names[label] == str(label) else f"{label} ({names[label]})"
        for label in classes[:5]
    )
    more = ", …" if len(classes) > 5 else ""
    return f"{len(classes)} class{'es' * (len(classes) > 1)} ({shown}{more})"


# The thorough check -------------------------------------------------------------------------------


class Part(NamedTuple):
    """One part of a data set: its source, its valid samples, and the problems of the others."""

    source: str
    samples: Sequence[Sample]
    problems: Sequence[str] = ()


class _Found(NamedTuple):
    """One file: its problem, or its facts."""

    sample: Sample
    problem: str = ""
    digest: bytes = b""
    size: int = 0
    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""


@dataclass(frozen=True)
class PartCheckup:
    """The contents of one part.

    Attributes:
        source: the list or folder.
        images: number of readable samples.
        bytes: total size of their files.
        class_counts: number of readable samples of each class.
        widths: minimum, median and maximum in pixels, after the EXIF orientation.
        heights: likewise.
        formats: number of images by file format.
        modes: number of images by Pillow's mode (`L` is gray, `P` palette).
        examples: paths and labels of some images, spread over the classes.
    """

    source: str
    images: int
    bytes: int
    class_counts: list[int]
    widths: tuple[int, int, int]
    heights: tuple[int, int, int]
    formats: dict[str, int]
    modes: dict[str, int]
    examples: list[tuple[str, Label]]


@dataclass(frozen=True)
class Checkup:
    """Result of a data check: errors, warnings, and the contents of each part."""

    class_num: int
    parts: dict[str, PartCheckup]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as for JSON."""
        return asdict(self)


def check_data(
    parts: Mapping[str, Part],
    class_num: int,
    names: Sequence[str],
    workers: int = 2,
    progress: Any = iter,
    channels: int | None = None,
) -> Checkup:
    """Read every image of a data set and report on it.

    Errors stop a run or silently spoil it: invalid lines, unreadable images. Warnings may be
    intended: classes without images, images with a short side below 32 pixels, the same file in
    several parts or with different labels.

    Args:
        parts: the samples of each part (training, validation, …) by its name.
        class_num: number of classes.
        names: class names.
        workers: number of reading threads.
        progress: wraps the iterable of blocks of 32 images, as tqdm does.
        channels: those that every image must have (see `ppcls.read_image`); None for any.
    """
    todo = [(name, sample) for name, part in parts.items() for sample in part.samples]
    found: dict[str, list[_Found]] = {name: [] for name in parts}
    blocks = [todo[i : i + _BLOCK] for i in range(0, len(todo), _BLOCK)]

    def examine(block: list[tuple[str, Sample]]) -> list[tuple[str, _Found]]:
        return [(name, _examine(sample, channels)) for name, sample in block]

    with closing(map_ahead(examine, blocks, workers)) as results:
        for block in progress(results):
            for name, each in block:
                found[name].append(each)
    checkup = Checkup(class_num, {})
    for name, part in parts.items():
        good = [f for f in found[name] if not f.problem]
        checkup.errors.extend(part.problems)
        checkup.errors.extend(f.problem for f in found[name] if f.problem)
        checkup.parts[name] = _part_checkup(part.source, good, class_num)
        checkup.warnings.extend(_oddities(name, good, checkup.parts[name], names))
    try:
        both = {name: part.samples for name, part in parts.items()}
        checkup.warnings.extend(coverage(both, class_num, names))
    except DataError as error:
        checkup.errors.append(str(error))
    checkup.warnings.extend(_duplicates(found))
    return checkup


def _examine(sample: Sample, channels: int | None) -> _Found:
    try:
        pixels = image.read(sample.path, channels=channels)
        header = read_header(sample.path)
        data = Path(sample.path).read_bytes()
    except ImageError as error:
        return _Found(sample, str(error))
    except OSError as error:
        return _Found(sample, f"{sample.path}: cannot read the image: {error.strerror}")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    height, width = pixels.shape[:2]
    return _Found(sample, "", digest, len(data), width, height, header.format, header.mode)


def _classes_of(label: Label) -> Iterable[int]:
    if isinstance(label, int):
        return (label,) if label >= 0 else ()  # -1: an image without a label
    return (i for i, flag in enumerate(label) if flag)


def _part_checkup(source: str, good: Sequence[_Found], class_num: int) -> PartCheckup:
    counts = Counter(c for f in good for c in _classes_of(f.sample.label))
    by_class: dict[Label, list[_Found]] = defaultdict(list)
    for f in good:
        by_class[f.sample.label].append(f)
    return PartCheckup(
        source,
        len(good),
        sum(f.size for f in good),
        [counts[label] for label in range(class_num)],
        _spread([f.width for f in good]),
        _spread([f.height for f in good]),
        dict(Counter(f.format for f in good).most_common()),
        dict(Counter(f.mode for f in good).most_common()),
        [(f.sample.path, f.sample.label) for f in islice(_in_turn(by_class.values()), 32)],
    )


def _spread(values: Sequence[int]) -> tuple[int, int, int]:
    return (min(values), round(statistics.median(values)), max(values)) if values else (0, 0, 0)


def _in_turn(groups: Iterable[Sequence[_Found]]) -> Iterator[_Found]:
    """Yield the first of each group, the second of each, …"""
    left = list(groups)
    for turn in range(max(map(len, left), default=0)):
        yield from (group[turn] for group in left if turn < len(group))


def _listed(what: str, items: Sequence[str]) -> list[str]:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return [f"{what}: {', '.join(items[:3])}{more}"] if items else []


def _oddities(
    name: str, good: Sequence[_Found], part: PartCheckup, names: Sequence[str]
) -> Iterator[str]:
    empty = [names[label] for label, count in enumerate(part.class_counts) if not count]
    hint = _FROM_ONE if part.images and empty == names[:1] else ""
    for line in _listed(f"{name}: {len(empty)} classes without an image", empty):
        yield f"{line}{hint}"
    small = [
        f"{f.sample.path} ({f.width}x{f.height})" for f in good if min(f.width, f.height) < _SMALL
    ]
    yield from _listed(f"{name}: {len(small)} images below {_SMALL} pixels", small)


def _duplicates(found: Mapping[str, Sequence[_Found]]) -> Iterator[str]:
    """Yield warnings about files with the same content."""
    same: dict[bytes, list[tuple[str, _Found]]] = defaultdict(list)
    for name, files in found.items():
        for f in files:
            if not f.problem:
                same[f.digest].append((name, f))
    groups = [group for group in same.values() if len(group) > 1]
    across: list[str] = []
    within: list[str] = []
    conflicting: list[str] = []
    for group in groups:
        text = " = ".join(f.sample.path for _, f in group[:2]) + (" = …" * (len(group) > 2))
        (across if len({name for name, _ in group}) > 1 else within).append(text)
        if len({f.sample.label for _, f in group}) > 1:
            conflicting.append(text)
    parts = " and ".join(found)
    yield from _listed(f"{len(across)} images are in both {parts}", across)
    yield from _listed(f"{len(within)} images are duplicates", within)
    yield from _listed(f"{len(conflicting)} images have several labels", conflicting)
