"""`ppcls train`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ppcls.cli.options import (
    Commands,
    UsageError,
    add_check_option,
    add_config_options,
    config_of,
    launched_processes,
    positive,
)
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST
from ppcls.printable import say

if TYPE_CHECKING:
    from ppcls.config import Config

_BEGINNINGS = """\
Three ways to begin, with photos/<class>/*.jpg:
  ppcls fit photos                               a model in a minute
  ppcls train --data photos --model HarDNet68    all layers of a network, from published weights
  ppcls train -c CONFIG --data photos            a recipe: a YAML file, such as quick_start/folder
`ppcls train --help` lists the options.
"""


def _split_new_folder(folder: str) -> None:
    """Write the lists of a folder of classes if it has none."""
    if any((Path(folder) / name).exists() for name in (TRAIN_LIST, VAL_LIST, LABEL_LIST)):
        return
    from ppcls.cli.data import print_lists
    from ppcls.data.folders import split_folder

    print_lists(folder, split_folder(folder))


def _recipe(args: argparse.Namespace) -> Config:
    """Return the configuration for `--model`, whose YAML is written beside the run.

    Raises:
        PpclsError: no such architecture, no weights for it, or no images.
    """
    from ppcls.data.lists import read_image_list, read_label_names
    from ppcls.errors import WeightsError
    from ppcls.fitting.features import needs_linear_head
    from ppcls.fitting.recipe import Lists, recipe_config, recipe_text, write_recipe
    from ppcls.models.catalogue import model_card
    from ppcls.models.weights import locate_weights

    card, root = model_card(args.model), Path(args.data)
    pretrained = bool(card.checkpoints) and not args.from_scratch
    names = read_label_names(root / LABEL_LIST, f"; `ppcls data split {root}` writes it")
    count = len(read_image_list(root / TRAIN_LIST, root, len(names)))
    paths = (root, root, root / TRAIN_LIST, root / VAL_LIST, root / LABEL_LIST)
    text = recipe_text(
        args.model,
        Lists(*paths, count, len(names)),
        Path("output") / (root.resolve().name or "photos"),
        pretrained=pretrained,
        size=args.size,
        epochs=args.epochs,
        # A fresh head that ends with a ReLU, as SqueezeNet's does, easily stops learning.
        head="linear" if pretrained and needs_linear_head(args.model) else None,
        plugins=args.plugin,
    )
    config = recipe_config(text, [o for group in args.override for o in group])
    if pretrained and config.Arch.pretrained is True and not config.Global.pretrained_model:
        start = "from its published ImageNet weights"
        try:
            locate_weights(card, True)
        except WeightsError as error:
            raise WeightsError(f"{error}; --from-scratch trains without them") from None
    elif pretrained:
        start = "from the weights of -o"
    else:
        why = "--from-scratch" if args.from_scratch else "it has no published weights"
        start = f"from scratch ({why})"
    say(f"recipe   {args.model}, {start}", sys.stderr)
    if not args.check and os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
        path = Path(config.Global.output_dir) / f"{args.model}.yaml"
        write_recipe(path, text, args.overwrite)
        say(f"recipe   {path}, to edit and to train with -c", sys.stderr)
    return config


def _refuse_mixed(args: argparse.Namespace) -> None:
    """Stop if the options describe no training, or two.

    Raises:
        UsageError: the options do not fit together.
    """
    if args.config and args.model:
        raise UsageError(
            f"-c {args.config} and --model {args.model} are two recipes; leave one out"
        )
    if not args.model:
        keys = {"--size": "Global.image_size=N", "--epochs": "Global.epochs=N"}
        for option, value in (("--size", args.size), ("--epochs", args.epochs)):
            if value is not None:
                raise UsageError(f"{option} is for --model; with -c, use -o {keys[option]}")
        if args.from_scratch:
            raise UsageError("--from-scratch is for --model; with -c, use -o Arch.pretrained=false")
    if not args.config and not args.model:
        raise UsageError("`ppcls train` needs --model NAME, or a recipe, -c CONFIG")
    if args.model and not args.data:
        raise UsageError(f"--model {args.model} needs --data, a folder of images")


def _train(args: argparse.Namespace) -> int:
    given = (args.config, args.model, args.data, args.size, args.epochs)
    if not any(given) and not args.from_scratch:
        print(_BEGINNINGS, end="", file=sys.stderr)
        return 2
    _refuse_mixed(args)
    # A check writes nothing, and several processes would write at once. Without lists, the
    # configuration's error names the command that writes them.
    if args.data and not args.check and launched_processes() == 1:
        _split_new_folder(args.data)
    config = _recipe(args) if args.model else config_of(args)
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
        "train the model of a configuration, or of --model and --data",
        """
        ppcls train --data photos --model HarDNet68 --size 320
        ppcls train -c quick_start/HarDNet39_ds
        ppcls train -c quick_start/HarDNet39_ds -o Global.epochs=20 Optimizer.lr.learning_rate=0.05
        ppcls train -c quick_start/folder --data photos -o Global.output_dir=output/photos
        """,
    )
    add_config_options(train, weights=False, data=True, required=False)
    own = train.add_argument_group("without -c", "--data, and:")
    own.add_argument(
        "--model",
        metavar="NAME",
        help="fine-tune this architecture; its YAML is written beside the run",
    )
    own.add_argument(
        "--size", type=positive, metavar="N", help="side of the images in pixels (the model's)"
    )
    own.add_argument(
        "--epochs", type=positive, metavar="N", help="passes over the images (by their number)"
    )
    own.add_argument(
        "--from-scratch", action="store_true", help="train without the published weights"
    )
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
