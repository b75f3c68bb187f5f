"""`ppcls config`."""

from __future__ import annotations

import argparse

from ppcls.cli.options import Commands, UsageError, add_data_option, add_override_option
from ppcls.printable import printable


def _show_config(args: argparse.Namespace) -> int:
    from ppcls.config import load_config
    from ppcls.config.printing import diff_configs, json_schema, show_config

    overrides = [o for group in args.override for o in group]
    if args.schema:
        if args.config or overrides or args.data or args.diff:
            raise UsageError(
                "--schema covers all configurations: leave out CONFIG and options; --plugin MODULE "
                "adds the parts of a module of yours"
            )
        print(json_schema())
        return 0
    if args.config is None:
        raise UsageError("name a configuration, such as quick_start/HarDNet39_ds")
    if args.diff is None:
        print(show_config(args.config, overrides, args.data))
        return 0
    first, second = (
        load_config(source, overrides, data=args.data) for source in (args.config, args.diff)
    )
    lines = diff_configs(first, second)
    print("\n".join(map(printable, lines)) or "no difference")
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    config = commands.add(
        "config",
        _show_config,
        "print a resolved configuration with the origin of each value",
        """
        ppcls config quick_start/HarDNet39_ds -o Global.epochs=20
        ppcls config quick_start/HarDNet39_ds --diff quick_start/folder
        ppcls config --schema > ppcls.schema.json
        """,
    )
    config.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file, or a shipped name")
    add_override_option(config)
    add_data_option(config)
    config.add_argument("--diff", metavar="OTHER", help="compare with another configuration")
    config.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of configurations"
    )
