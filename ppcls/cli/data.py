"""`ppcls data`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ppcls.cli.options import (
    Commands,
    add_override_option,
    checked,
    config_of,
    natural,
    png_file,
    positive,
    share,
)
from ppcls.data.lists import LIST_SUFFIXES
from ppcls.printable import counted, say

if TYPE_CHECKING:
    from ppcls.data.folders import Split


_QUALITY = checked(int, lambda value: 1 <= value <= 100, "a whole number from 1 to 100")
_DATA_HELP = "for a configuration: a folder that `ppcls data split` prepared"


def _data_digits(args: argparse.Namespace) -> int:
    from ppcls.data.tools.digits import write_digits

    print_lists(args.folder, write_digits(args.folder, overwrite=args.overwrite))
    return 0


def _data_split(args: argparse.Namespace) -> int:
    from ppcls.data.folders import split_folder

    counts = split_folder(
        args.folder,
        val=args.val,
        seed=args.seed,
        overwrite=args.overwrite,
        allow_missing=args.allow_missing,
    )
    print_lists(args.folder, counts)
    return 0


def _data_list(args: argparse.Namespace) -> int:
    from ppcls.data.folders import list_folder

    listed = list_folder(args.folder, args.out, labels=args.labels, overwrite=args.overwrite)
    say(
        f"{listed.path}: {counted(listed.images, 'image')} of "
        f"{counted(listed.classes, 'class', 'classes')}"
    )
    _print_left_out(args.folder, listed.left_out)
    return 0


def _data_check(args: argparse.Namespace) -> int:
    from ppcls.cli.data_check import run_check

    return run_check(args)


def _data_prepare(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ppcls.data.tools.shrink import prepare

    def progress(blocks: Iterable) -> Iterator:
        with tqdm(unit="image", leave=False, disable=not sys.stderr.isatty()) as bar:
            for block in blocks:
                yield block
                bar.update(len(block))

    done = prepare(args.source, args.target, args.short_side, args.quality, args.workers, progress)
    before, after = done.bytes_before / 2**20, done.bytes_after / 2**20
    say(
        f"{args.target}: {done.rewritten} images rewritten, {done.copied} copied, "
        f"{done.kept} already present; {before:.1f} MiB reduced to {after:.1f}"
    )
    return 0


def _data_show(args: argparse.Namespace) -> int:
    from ppcls.pictures.data import show_samples

    show_samples(config_of(args), args.out, count=args.count, epoch=args.epoch, epochs=args.epochs)
    say(f"{args.out}: images as training sees them, from epoch {args.epoch} on")
    return 0


def _list_file(text: str) -> str:
    if not text.lower().endswith(LIST_SUFFIXES):
        raise argparse.ArgumentTypeError(
            f"expected a file that ends in {', '.join(LIST_SUFFIXES)}, not {text}"
        )
    return text


def print_lists(folder: str, split: Split) -> None:
    """Report what `split_folder` has written, and which files it left out."""
    say(
        f"{folder}: {counted(split.classes, 'class', 'classes')}, "
        f"{counted(split.train, 'training image')}, {counted(split.val, 'validation image')}; "
        "lists: train_list.txt, val_list.txt, label_list.txt"
    )
    _print_left_out(folder, split.left_out)


def _print_left_out(folder: str, left_out: Mapping[str, int]) -> None:
    if left_out:
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
        say(f"{folder}: not in a list, because ppcls cannot read them as images: {kinds}")


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    data = Commands(
        commands.add(
            "data",
            _data_split,
            "make data sets and image lists, check and prepare them",
            """
            ppcls data digits digits
            ppcls data split photos --val 0.2
            ppcls data check photos
            ppcls data prepare photos photos320
            """,
        )
    )
    digits = data.add(
        "digits",
        _data_digits,
        "write the UCI handwritten digits as image files (needs scikit-learn)",
        "ppcls data digits digits",
    )
    digits.add_argument("folder", metavar="DIR")
    split = data.add(
        "split",
        _data_split,
        "write train, val and label lists for a folder with one sub-folder of images per class",
        """
        ppcls data split photos
        ppcls data split photos --val 0.1 --seed 1 --overwrite
        """,
    )
    split.add_argument("folder", metavar="DIR")
    split.add_argument(
        "--val", type=share, metavar="SHARE", help="validation share of each class (0.2)"
    )
    split.add_argument(
        "--allow-missing",
        action="store_true",
        help="for a folder with train/ and val/: val/ may lack classes of train/",
    )
    split.add_argument("--seed", type=natural, default=0, help="seed of the random split (0)")
    listing = data.add(
        "list",
        _data_list,
        "write one list of all images of a folder with one sub-folder per class",
        """
        ppcls data list photos
        ppcls data list photos/test --labels photos/label_list.txt --out photos/test/list.csv
        """,
    )
    listing.add_argument("folder", metavar="DIR")
    listing.add_argument(
        "--out",
        type=_list_file,
        metavar="FILE",
        help="the list, .txt, .csv or .jsonl, with paths relative to DIR (DIR/image_list.txt)",
    )
    listing.add_argument(
        "--labels", metavar="FILE", help="number the classes as in this label list"
    )
    check = data.add(
        "check",
        _data_check,
        "read every image of a data set, and report its content and errors",
        """
        ppcls data check photos --report photos.png
        ppcls data check quick_start/HarDNet39_ds --json check.json
        ppcls data check train_list.txt --image-root /data/images --class-num 1000 --workers 8
        """,
    )
    check.add_argument(
        "target",
        metavar="CONFIG|DIR|LIST",
        help="a configuration, a folder with lists or class folders, or a list",
    )
    check.add_argument("--json", metavar="FILE", help="write the findings to FILE; - prints them")
    check.add_argument("--report", metavar="FILE.png", type=png_file, help="draw a plot")
    check.add_argument("--class-num", type=positive, metavar="N", help="for a folder or list")
    check.add_argument("--image-root", metavar="DIR", help="for a list; default: its folder")
    check.add_argument("--delimiter", metavar="TEXT", help="for a .txt list; default: a space")
    check.add_argument(
        "--multi-label", action="store_true", help="for a list with 0 or 1 for each class"
    )
    add_override_option(check)
    check.add_argument("--data", metavar="DIR", help=_DATA_HELP)
    preparing = data.add(
        "prepare",
        _data_prepare,
        "copy a data set with smaller JPEGs, so that later epochs decode faster",
        """
        ppcls data prepare photos photos320
        ppcls data prepare photos photos512 --short-side 512 --quality 90 --workers 8
        """,
    )
    preparing.add_argument("source", metavar="SRC")
    preparing.add_argument("target", metavar="DST")
    preparing.add_argument(
        "--short-side", type=positive, default=320, metavar="N", help="pixels (320)"
    )
    preparing.add_argument(
        "--quality", type=_QUALITY, default=95, metavar="N", help="JPEG quality, 1 to 100 (95)"
    )
    for command in (check, preparing):
        command.add_argument(
            "--workers", type=positive, default=os.cpu_count(), metavar="N", help="threads"
        )
    show = data.add(
        "show",
        _data_show,
        "draw samples beside their augmented (and mixed) versions, with their labels",
        """
        ppcls data show quick_start/folder --data photos
        ppcls data show my.yaml --count 12 --epoch 5 --out augmented.png
        ppcls data show HarDNet68 --epochs 8 -o Global.seed=1
        """,
    )
    show.add_argument("config", metavar="CONFIG", help="YAML file, or a shipped name")
    add_override_option(show)
    show.add_argument("--data", metavar="DIR", help=_DATA_HELP)
    show.add_argument(
        "--out",
        type=png_file,
        default="samples.png",
        metavar="FILE.png",
        help="the output image (samples.png)",
    )
    show.add_argument("--count", type=positive, default=8, help="how many samples (8)")
    show.add_argument("--epoch", type=positive, default=1, help="the first epoch to show (1)")
    show.add_argument("--epochs", type=positive, default=4, help="how many epochs (4)")
    for command in (digits, split, listing):
        command.add_argument("--overwrite", action="store_true", help="replace lists that differ")
