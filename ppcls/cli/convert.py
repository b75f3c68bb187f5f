"""`ppcls convert`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppcls.cli.options import Commands, UsageError
from ppcls.errors import ConfigError
from ppcls.printable import say


def _convert(args: argparse.Namespace) -> int:
    from ppcls.models.weight_files import FORMATS, read_weights, write_weights

    if Path(args.target).suffix not in FORMATS:
        raise UsageError(f"OUT must end in {', '.join(FORMATS)}, but is {args.target}")
    if Path(args.target).exists() and not args.overwrite:
        raise ConfigError(f"{args.target} exists; add --overwrite to replace it")
    state = read_weights(args.source)
    write_weights(state, args.target)
    say(f"{args.target}: {len(state)} arrays, {sum(a.size for a in state.values()):,} values")
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    convert = commands.add(
        "convert",
        _convert,
        "rewrite weights as .pdparams, .safetensors or .npz",
        """
        ppcls convert best_model.pdparams best_model.safetensors
        """,
    )
    convert.add_argument("source", metavar="IN", help="the file to read")
    convert.add_argument("target", metavar="OUT", help="the output; its suffix is the format")
    convert.add_argument("--overwrite", action="store_true", help="replace an existing file")
