"""`ppcls data check`: the parts of a data set, and the report on them."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ppcls.cli.options import UsageError
from ppcls.data.folders import folder_classes, read_image_folder
from ppcls.data.lists import (
    LABEL_LIST,
    LIST_SUFFIXES,
    TRAIN_LIST,
    VAL_LIST,
    class_names,
    read_label_names,
    scan_image_list,
)
from ppcls.data.tools.check import Checkup, Part, PartCheckup, check_data
from ppcls.errors import ConfigError, DataError
from ppcls.files import replacing
from ppcls.printable import counted, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["run_check"]

_FOR = {
    "-o": ("override", ["a configuration"]),
    "--data": ("data", ["a configuration"]),
    "--class-num": ("class_num", ["a folder", "a list"]),
    "--image-root": ("image_root", ["a list"]),
    "--delimiter": ("delimiter", ["a list"]),
    "--multi-label": ("multi_label", ["a list"]),
}
_LINES = 10
_ANY_CLASS = 2**31


class _Target:
    """The parts of a data set, the number of its classes, their names, and the channels."""

    def __init__(
        self,
        parts: Mapping[str, Part],
        class_num: int,
        names: Sequence[str],
        channels: int | None = None,
    ):
        self.parts, self.class_num, self.names, self.channels = parts, class_num, names, channels


def _find_target(args: argparse.Namespace) -> _Target:
    path = Path(args.target)
    kind = "a list" if path.suffix.lower() in LIST_SUFFIXES else "a configuration"
    kind = "a folder" if path.is_dir() else kind
    for option, (attribute, kinds) in _FOR.items():
        if getattr(args, attribute) and kind not in kinds:
            raise UsageError(f"{option} is for {' or '.join(kinds)}, but {path} is {kind}")
    if kind == "a folder":
        return _from_folder(path, args.class_num)
    return _from_list(path, args) if kind == "a list" else _from_config(args)


def _from_folder(root: Path, class_num: int | None) -> _Target:
    lists = {"Train": root / TRAIN_LIST, "Eval": root / VAL_LIST}
    parts: dict[str, Part] = {}
    if (root / LABEL_LIST).is_file():
        names = read_label_names(root / LABEL_LIST)
        for part, path in lists.items():
            if path.is_file():
                parts[part] = Part(str(path), *scan_image_list(path, root, len(names)))
    else:
        folders = {"Train": root / "train", "Eval": root / "val"}
        if not all(folder.is_dir() for folder in folders.values()):
            folders = {"all": root}
        names = folder_classes(next(iter(folders.values())))
        for part, folder in folders.items():
            samples = read_image_folder(folder, len(names), names)
            parts[part] = Part(str(folder), samples)
    if not parts:
        raise DataError(f"{root}: holds {LABEL_LIST}, but neither {TRAIN_LIST} nor {VAL_LIST}")
    if class_num is not None and class_num != len(names):
        raise ConfigError(f"{root}: {len(names)} classes, but --class-num is {class_num}")
    return _Target(parts, len(names), names)


def _from_list(path: Path, args: argparse.Namespace) -> _Target:
    if args.multi_label and args.class_num is None:
        raise UsageError("--multi-label needs --class-num")
    samples, problems = scan_image_list(
        path,
        args.image_root or path.parent,
        args.class_num or _ANY_CLASS,
        delimiter=args.delimiter or ("\t" if args.multi_label else " "),
        multi_label=args.multi_label,
        set_by="--class-num",
    )
    labels = [s.label for s in samples if isinstance(s.label, int)]
    class_num = args.class_num or max(labels, default=0) + 1
    part = Part(str(path), samples, problems)
    return _Target({"all": part}, class_num, class_names(None, class_num))


def _from_config(args: argparse.Namespace) -> _Target:
    from ppcls.config import load_config
    from ppcls.config.class_names import label_names, resolve_classes

    overrides = [o for group in args.override for o in group]
    config = resolve_classes(load_config(args.target, overrides, data=args.data))
    class_num = config.Arch.class_num
    loaders = {"Train": config.DataLoader.Train, "Eval": config.DataLoader.Eval}
    parts = {
        name: Part(data.dataset.source, *data.dataset.scan(class_num))
        for name, data in loaders.items()
        if data
    }
    if not parts:
        raise ConfigError(f"{args.target}: no DataLoader.Train or DataLoader.Eval to check")
    return _Target(parts, class_num, label_names(config), config.in_channels)


def _refuse_overwriting(args: argparse.Namespace, target: _Target) -> None:
    """Stop before the findings overwrite a file of the data set."""
    read = {str(Path(args.target).resolve())}
    for part in target.parts.values():
        read |= {os.path.realpath(part.source), *(os.path.realpath(s.path) for s in part.samples)}
    for option, file in (("--json", args.json), ("--report", args.report)):
        if file and os.path.realpath(file) in read:
            raise ConfigError(f"{option} {file}: is part of the checked data; name another file")


def run_check(args: argparse.Namespace) -> int:
    """Run `ppcls data check`; return 1 if something is wrong."""
    target = _find_target(args)
    _refuse_overwriting(args, target)
    total = sum(len(part.samples) for part in target.parts.values())

    def progress(blocks: Iterable) -> Iterator:
        with tqdm(total=total, unit="image", leave=False, disable=not sys.stderr.isatty()) as bar:
            for block in blocks:
                yield block
                bar.update(len(block))

    found = check_data(
        target.parts, target.class_num, target.names, args.workers, progress, target.channels
    )
    if args.json == "-":
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        for line in _text(found, target.names):
            say(line)
    if args.json and args.json != "-":
        with replacing(Path(args.json)) as file:
            text = json.dumps(found.as_dict(), ensure_ascii=False, indent=1)
            file.write_text(text + "\n", encoding="utf-8")
    if args.report:
        from ppcls.pictures.data import class_counts_picture

        counts = {name: part.class_counts for name, part in found.parts.items()}
        examples = next((part.examples for part in found.parts.values() if part.examples), [])
        class_counts_picture(counts, target.names, examples, args.report)
    return 1 if found.errors else 0


def _text(found: Checkup, names: Sequence[str]) -> Iterator[str]:
    for name, part in found.parts.items():
        yield f"{name}: {part.source}"
        yield from (f"  {line}" for line in _part_text(part, names))
    for kind, lines in (("warning", found.warnings), ("error", found.errors)):
        yield from (f"{kind}: {line}" for line in lines[:_LINES])
        if len(lines) > _LINES:
            yield f"{kind}: and {len(lines) - _LINES} more (--json has them all)"
    yield f"{counted(len(found.errors), 'error')}, {counted(len(found.warnings), 'warning')}"


def _part_text(part: PartCheckup, names: Sequence[str]) -> Iterator[str]:
    yield f"images   {part.images}, {part.bytes / 2**20:.1f} MiB"
    if not part.images:
        return
    counts = part.class_counts
    least, most = counts.index(min(counts)), counts.index(max(counts))
    if counts[least] == counts[most]:
        yield f"classes  {len(counts)}, of {counts[least]} images each"
    else:
        yield (
            f"classes  {len(counts)}, of {counts[least]} ({names[least]}) to {counts[most]} "
            f"({names[most]}) images, median {statistics.median(counts):g}"
        )
    for what, (low, median, high) in (("width", part.widths), ("height", part.heights)):
        yield f"{what:8} {low}" + (f" to {high}, median {median}" if low < high else "")
    for what, kinds in (("formats", part.formats), ("modes", part.modes)):
        yield f"{what:8} " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
