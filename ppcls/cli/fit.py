"""`ppcls fit`."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path

from ppcls.cli.options import Commands, checked, natural, positive
from ppcls.printable import say


def _validation(text: str) -> str | float:
    """Return the value of `--val`: a share, or the name of a folder."""
    with suppress(ValueError):
        if not Path(text).is_dir():
            return float(text)
    return text


def _fit(args: argparse.Namespace) -> int:
    from ppcls.fitting.fit import fit

    result = fit(
        args.photos,
        args.out,
        model=None if args.model is None else args.model.split(","),
        weights=args.weights,
        size=args.size,
        val=args.val,
        finetune=args.finetune,
        minutes=args.minutes,
        seed=args.seed,
        skip_broken=args.skip_broken,
        overwrite=args.overwrite,
        plugins=args.plugin,
    )
    if args.json:
        print(json.dumps(result.to_dict(), ensure_ascii=False))
        return 0
    for line in (
        *result.summary().split("\n"),
        "",
        f"to predict: ppcls predict {result.bundle} IMAGES",
    ):
        say(line)
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    fit = commands.add(
        "fit",
        _fit,
        "make a model from a folder of images in a minute: a linear classifier on the features of "
        "a pretrained network",
        """
        ppcls fit photos                                photos/<class>/*.jpg
        ppcls fit photos --finetune --minutes 30        then train all layers
        ppcls fit photos cats --model SqueezeNet1_1,HarDNet39_ds
        ppcls fit photos --weights SqueezeNet1_1_pretrained.pdparams --val photos_of_may
        """,
    )
    fit.add_argument(
        "photos", metavar="PHOTOS", help="a folder with one sub-folder of images per class"
    )
    fit.add_argument(
        "out", nargs="?", metavar="OUT", help="the output folder (output/<name of PHOTOS>)"
    )
    fit.add_argument(
        "--model",
        metavar="NAME",
        help="the architecture (SqueezeNet1_1); of several, a,b,c, the best is kept",
    )
    fit.add_argument(
        "--weights",
        metavar="FILE|URL|NAME",
        help="pretrained weights (default: the published ImageNet weights, downloaded once)",
    )
    fit.add_argument(
        "--size", type=positive, metavar="N", help="side of the images in pixels (the model's)"
    )
    fit.add_argument(
        "--val",
        type=_validation,
        metavar="DIR|SHARE",
        help="a folder of validation images, or the share of each class to hold out (0.2)",
    )
    fit.add_argument("--finetune", action="store_true", help="then train all layers")
    fit.add_argument(
        "--minutes",
        type=checked(float, lambda value: 0 < value < float("inf"), "a number above 0"),
        metavar="M",
        help="the time for --finetune (default: until it no longer helps)",
    )
    fit.add_argument("--seed", type=natural, default=0, help="seed of the split (0)")
    fit.add_argument(
        "--skip-broken", action="store_true", help="leave out images that cannot be read"
    )
    fit.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run that has been trained"
    )
    fit.add_argument("--json", action="store_true", help="print the result as one JSON object")
