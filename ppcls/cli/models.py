"""`ppcls list`, `ppcls info` and `ppcls convert`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ppcls.cli.options import Commands, UsageError
from ppcls.errors import ConfigError


def _list(args: argparse.Namespace) -> int:
    from ppcls.models.card_text import table
    from ppcls.models.catalogue import list_models, model_card

    # A word without wildcards is a part of the name: `ppcls list hardnet` finds what is meant.
    pattern = args.pattern if set(args.pattern) & set("*?[") else f"*{args.pattern}*"
    cards = [model_card(name) for name in list_models(pattern)]
    if args.json:
        print(json.dumps([card.to_dict() for card in cards], indent=2))
        return 0
    if not cards:
        print(f"no architecture matches {args.pattern!r}", file=sys.stderr)
        return 1
    print(table(cards))
    return 0


def _info(args: argparse.Namespace) -> int:
    from ppcls.models.card_text import describe
    from ppcls.models.catalogue import model_card

    card = model_card(args.name)
    print(json.dumps(card.to_dict(), indent=2) if args.json else describe(card))
    return 0


def _convert(args: argparse.Namespace) -> int:
    from ppcls.models.weights import FORMATS, read_weights, write_weights

    if Path(args.target).suffix not in FORMATS:
        raise UsageError(f"OUT ends in {', '.join(FORMATS)}, and {args.target} does not")
    if Path(args.target).exists() and not args.overwrite:
        raise ConfigError(f"{args.target} exists; add --overwrite to replace it")
    state = read_weights(args.source)
    write_weights(state, args.target)
    print(f"{args.target}: {len(state)} arrays, {sum(a.size for a in state.values()):,} values")
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    list_ = commands.add(
        "list",
        _list,
        "print the architectures",
        """
        ppcls list
        ppcls list "HarDNet*" --json
        """,
    )
    list_.add_argument("pattern", nargs="?", default="*", metavar="PATTERN")
    list_.add_argument("--json", action="store_true", help="print a JSON list of model cards")

    info = commands.add(
        "info",
        _info,
        "print all that is known of an architecture: its model card",
        """
        ppcls info HRNet_W48_C
        ppcls info DPN68 --json
        """,
    )
    info.add_argument("name", metavar="NAME", help="as `ppcls list` prints it")
    info.add_argument("--json", action="store_true", help="print a JSON object")

    convert = commands.add(
        "convert",
        _convert,
        "rewrite weights as .pdparams, .safetensors or .npz",
        """
        ppcls convert best_model.pdparams best_model.safetensors
        """,
    )
    convert.add_argument("source", metavar="IN", help="the file to read")
    convert.add_argument("target", metavar="OUT", help="the file to write, by its suffix")
    convert.add_argument("--overwrite", action="store_true", help="replace a file that is there")
