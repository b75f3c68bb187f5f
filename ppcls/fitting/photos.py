"""The images to fit: a folder of classes, its split, and copies of one picture in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppcls.data.folders import folder_classes, read_image_folder
from ppcls.data.lists import (
    LABEL_LIST,
    TRAIN_LIST,
    VAL_LIST,
    Sample,
    raise_problems,
    read_label_names,
    scan_image_list,
)
from ppcls.errors import ConfigError, DataError

__all__ = ["Photos", "copies", "groups_of", "order", "read_photos", "split"]

SHARE = 0.2
"""The share of each class that becomes the validation set of a folder without one."""

# A picture saved again, smaller or at a lower quality, differs less; of 2 million pairs of
# photographs of hands before one background, none did.
_HASH_BITS, _THUMB_LEVELS = 40, 2.0
_CELLS = 20_000_000
"""Pairs compared at a time."""


@dataclass(frozen=True)
class Photos:
    """The images of a folder, and their classes.

    Attributes:
        root: the folder.
        val_root: the folder of the validation images.
        names: the class names.
        train: the training images; all images, if there is no validation set yet.
        val: the validation images; None if there is no validation set yet.
        share: the share of each class to hold out, in that case.
        source: where the split comes from, in words.
        notes: lines for the user.
    """

    root: Path
    val_root: Path
    names: list[str]
    train: list[Sample]
    val: list[Sample] | None
    share: float
    source: str
    notes: list[str]


def read_photos(folder: str | Path, val: str | Path | float | None = None) -> Photos:
    """Read a folder of classes as `--data` does: lists, `train/` and `val/`, or class folders.

    Args:
        folder: the folder.
        val: a folder with the validation images in the same class folders, or the share of each
            class to hold out; None is a fifth.

    Raises:
        ConfigError: the share is not between 0 and 1, or the folder has a validation set already.
        DataError: no such folder, a list or a class folder is wrong, or there are fewer than two
            classes.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a sub-folder for each class")
    share, val_root = SHARE, root
    if isinstance(val, (int, float)):
        share = float(val)
        if not 0 < share < 1:
            raise ConfigError(f"val: expected a share above 0 and below 1, or a folder, not {val}")
    elif val is not None:
        val_root = Path(val).expanduser()
        if val_root.resolve() == root.resolve():
            raise ConfigError(f"val: {val} is the folder of the training images; name another one")
    if (root / LABEL_LIST).is_file():
        names = read_label_names(root / LABEL_LIST)
        train = _listed(root / TRAIN_LIST, len(names))
        held = _listed(root / VAL_LIST, len(names)) if (root / VAL_LIST).is_file() else None
        source, notes = f"lists in {root}", _unlisted(root, names, [*train, *(held or ())])
    elif (root / "train").is_dir() and (root / "val").is_dir():
        names = folder_classes(root / "train")
        train = read_image_folder(root / "train", len(names), names)
        held = read_image_folder(root / "val", len(names), names)
        source, notes = "train/ and val/", []
    else:
        names = folder_classes(root)
        train, held = read_image_folder(root, len(names), names), None
        source, notes = f"{share:.0%} of each class held out", []
    if held is not None and val is not None:
        raise ConfigError(
            f"{root} has a validation set already ({source}): leave out --val (val), or name the "
            "folder of the training images"
        )
    if val is not None and val_root != root:
        held = read_image_folder(val_root, len(names), names)
        source = f"validation images in {val_root}"
    _check_classes(root, names, train, held)
    return Photos(root, val_root, names, train, held, share, source, notes)


def _listed(path: Path, class_num: int) -> list[Sample]:
    samples, problems = scan_image_list(path, path.parent, class_num)
    raise_problems(problems)
    return samples


def _unlisted(root: Path, names: list[str], samples: Sequence[Sample]) -> list[str]:
    """Warn of images in class folders that no list names."""
    folders = [root / "train", root / "val"] if (root / "train").is_dir() else [root]
    found: list[Sample] = []
    with suppress(DataError):  # the lists need no class folders
        for folder in folders:
            found += read_image_folder(folder, len(names), names)
    listed = {str(Path(sample.path)) for sample in samples}
    left = [sample.path for sample in found if str(Path(sample.path)) not in listed]
    if not left:
        return []
    return [
        f"warning: images in no list ({len(left)}), such as {left[0]}; `ppcls data split {root} "
        "--overwrite` writes the lists again"
    ]


def _check_classes(
    root: Path, names: Sequence[str], train: Sequence[Sample], held: Sequence[Sample] | None
) -> None:
    if len(names) < 2:
        raise DataError(f"{root}: a classifier needs two classes or more, found only {names[0]}")
    counts = Counter(sample.label for sample in train)
    empty = [name for label, name in enumerate(names) if not counts[label]]
    if empty:
        raise DataError(
            f"{root}: no training images of the class {empty[0]}; add some, or remove it"
        )
    if held is not None:
        if not held:
            raise DataError(f"{root}: no validation images")
        return
    few = [name for label, name in enumerate(names) if counts[label] < 2]
    if few:
        raise DataError(
            f"{root}: one image of the class {few[0]} is too few for training and validation; add "
            "images, or name a folder of validation images with --val DIR (val=DIR)"
        )


# Copies -------------------------------------------------------------------------------------------


def copies(
    digests: Sequence[bytes], hashes: np.ndarray, thumbs: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield pairs of images that are the same file, or the same picture saved again.

    The pairs connect all copies of a picture, with as few pairs as possible.

    Args:
        digests: the SHA-256 of each file.
        hashes: bool (N, 256), perceptual hashes.
        thumbs: uint8 (N, 192), thumbnails.
    """
    groups = np.arange(len(digests))
    first: dict[bytes, int] = {}
    for j, digest in enumerate(digests):
        i = first.setdefault(digest, j)
        if i != j:
            groups[j] = i
            yield i, j
    # The first of each file stands for all of them.
    own = np.array(list(first.values()))
    signs = hashes[own].astype(np.float32) * 2 - 1
    bits, step = signs.shape[1], max(1, _CELLS // len(own))
    for start in range(0, len(own), step):
        # Equal signs add 1, different ones -1.
        alike = signs[start : start + step] @ signs[start:].T >= bits - 2 * _HASH_BITS
        alike = np.triu(alike, 1)
        for row in np.flatnonzero(alike.any(axis=1)).tolist():
            i = int(own[start + row])
            others = own[start + np.flatnonzero(alike[row])]
            others = others[groups[others] != groups[i]]
            differences = np.abs(thumbs[others].astype(np.int16) - thumbs[i]).mean(axis=1)
            for j in others[differences <= _THUMB_LEVELS].tolist():
                if groups[i] != groups[j]:
                    groups[groups == groups[j]] = groups[i]
                    yield i, j


def groups_of(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return the group of each of N images, int64 (N,): copies of a picture are in one group."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        first, second = sorted((root(i), root(j)))
        parent[second] = first
    return np.array([root(i) for i in range(count)], np.int64)


def order(digests: Sequence[bytes], seed: int) -> np.ndarray:
    """Return the images in an order that depends on their content and a seed alone, int64 (N,).

    Images that are added later leave the order of the others as it was.
    """
    keys = [hashlib.sha256(seed.to_bytes(8, "big") + digest).digest() for digest in digests]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def split(
    labels: np.ndarray, groups: np.ndarray, digests: Sequence[bytes], share: float, seed: int
) -> np.ndarray:
    """Choose validation images: a share of each class, with copies of a picture on one side.

    A class of one picture and its copies is divided all the same.

    Args:
        labels: classes, int (N,), at least two images of each.
        groups: the group of each image, int (N,).
        digests: the SHA-256 of each file.
        share: the share of each class.
        seed: another seed makes another choice.

    Returns:
        Whether each image is a validation image, bool (N,).
    """
    counts = np.bincount(labels)
    wanted = np.minimum(counts - 1, np.maximum(1, np.round(counts * share).astype(int)))
    held = np.zeros(len(labels), bool)
    taken = np.zeros(len(counts), int)
    members: dict[int, list[int]] = {}
    for i in order(digests, seed).tolist():
        members.setdefault(int(groups[i]), []).append(i)
    for group in members.values():
        sizes = np.bincount(labels[group], minlength=len(counts))
        if (taken + sizes <= wanted)[sizes > 0].all():
            held[group] = True
            taken += sizes
    for label in np.flatnonzero(taken == 0).tolist():
        # Its groups are all larger than its share.
        own = [group for group in members.values() if (labels[group] == label).all()]
        own.sort(key=len)
        if len(own) > 1 or (own and len(own[0]) < counts[label]):
            held[own[0]] = True
        else:
            alone = [i for i in order(digests, seed).tolist() if labels[i] == label]
            held[alone[: wanted[label]]] = True
    return held
