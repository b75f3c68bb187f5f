"""`ppcls data`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ppcls.cli.parsing import Commands, natural, share

if TYPE_CHECKING:
    from ppcls.data.folders import Split


def _data_digits(args: argparse.Namespace) -> int:
    from ppcls.data.digits import write_digits

    _print_lists(args.folder, write_digits(args.folder, overwrite=args.overwrite))
    return 0


def _data_split(args: argparse.Namespace) -> int:
    from ppcls.data.folders import split_folder

    counts = split_folder(args.folder, val=args.val, seed=args.seed, overwrite=args.overwrite)
    _print_lists(args.folder, counts)
    return 0


def _print_lists(folder: str, split: Split) -> None:
    print(
        f"{folder}: {split.classes} classes, {split.train} images to train on, {split.val} held "
        "out; lists: train_list.txt, val_list.txt, label_list.txt"
    )
    if split.left_out:
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(split.left_out.items()))
        print(f"{folder}: in no list, because not images that can be read: {kinds}")


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    data = Commands(
        commands.add(
            "data",
            _data_split,
            "make data sets and image lists",
            """
            ppcls data digits digits
            ppcls data split photos --val 0.2
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
    split.add_argument("--val", type=share, metavar="SHARE", help="held out of each class (0.2)")
    split.add_argument("--seed", type=natural, default=0, help="of the choice (0)")
    for command in (digits, split):
        command.add_argument(
            "--overwrite", action="store_true", help="replace lists that are there and differ"
        )
