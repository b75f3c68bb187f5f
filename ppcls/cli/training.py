"""`ppcls train` and `ppcls eval`."""

from __future__ import annotations

import argparse
import json

from ppcls.cli.parsing import Commands, add_config_options, config_of


def _train(args: argparse.Namespace) -> int:
    config = config_of(args)
    from ppcls.engine.train import train

    result = train(config, overwrite=args.overwrite)
    minutes, seconds = divmod(round(result.seconds), 60)
    top1 = "" if result.best_top1 is None else f", best top-1 {result.best_top1:.4f}"
    print(f"trained in {minutes} min {seconds} s{top1}")
    print(f"weights  {result.best}")
    print(f"curves   {result.folder / 'curves.png'}")
    print(f"config   {result.folder / 'config.yaml'}")
    return 0


def _eval(args: argparse.Namespace) -> int:
    config = config_of(args)
    from ppcls.engine.evaluate import evaluate

    found = evaluate(config, allow_random=args.allow_random)
    if args.json:
        counts = {"images": found.count, "unreadable": found.unreadable}
        print(json.dumps({**counts, **found.means, "seconds": found.seconds}))
    else:
        print(f"{found.summary()} ({found.count} images in {found.seconds:.1f} s)")
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    train = commands.add(
        "train",
        _train,
        "train a model as a configuration says",
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

    evaluate = commands.add(
        "eval",
        _eval,
        "evaluate trained weights on the held-out images",
        """
        ppcls eval -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model
        """,
    )
    add_config_options(evaluate, weights=True, data=True)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
