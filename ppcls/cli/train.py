"""`ppcls train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppcls.cli.options import (
    Commands,
    add_check_option,
    add_config_options,
    config_of,
    launched_processes,
)
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST
from ppcls.printable import say


def _split_new_folder(folder: str) -> None:
    """Write the lists of a folder of classes if it has none."""
    if any((Path(folder) / name).exists() for name in (TRAIN_LIST, VAL_LIST, LABEL_LIST)):
        return
    from ppcls.cli.data import print_lists
    from ppcls.data.folders import split_folder

    print_lists(folder, split_folder(folder))


def _train(args: argparse.Namespace) -> int:
    # A check writes nothing, and several processes would write at once. Without lists, the
    # configuration's error names the command that writes them.
    if args.data and not args.check and launched_processes() == 1:
        _split_new_folder(args.data)
    config = config_of(args)
    if args.check:
        from ppcls.training.dry_run import check_training

        for line in check_training(config):
            say(line)
        return 0
    from ppcls.distributed import rank
    from ppcls.training.profile import ProfileOptions
    from ppcls.training.train import train

    profile = None if args.profile is None else ProfileOptions.parse(args.profile)
    result = train(config, overwrite=args.overwrite, profile=profile)
    if rank() != 0:
        return 0
    minutes, seconds = divmod(round(result.seconds), 60)
    best = "" if result.best_metric is None else f", best {result.metric} {result.best_metric:.4f}"
    if result.was_finished:
        print(f"this run is already finished; nothing left to train{best}")
    else:
        print(f"trained in {minutes} min {seconds} s{best}")
    for line in result.warnings:
        say(f"warning  {line}")
    say(f"weights  {result.best}")
    say(f"curves   {result.folder / 'curves.png'}")
    say(f"config   {result.folder / 'config.yaml'}")
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    train = commands.add(
        "train",
        _train,
        "train the model of a configuration",
        """
        ppcls train -c quick_start/HarDNet39_ds
        ppcls train -c quick_start/HarDNet39_ds -o Global.epochs=20 Optimizer.lr.learning_rate=0.05
        ppcls train -c quick_start/folder --data photos -o Global.output_dir=output/photos
        """,
    )
    add_config_options(train, weights=False, data=True)
    train.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run in the same folder"
    )
    train.add_argument(
        "-p",
        "--profiler_options",
        dest="profile",
        metavar="OPTIONS",
        help="profile some steps, then end: 'batch_range=[10, 20]; profile_path=DIR; state=All; "
        "sorted_key=total; timer_only=false; exit_on_finished=true'",
    )
    add_check_option(train)
