"""`ppcls backends`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ppcls.cli.options import Commands
from ppcls.printable import say


def _backends(args: argparse.Namespace) -> int:
    from ppcls.inference.backends import BACKENDS

    if args.json:
        found = {
            name: {**asdict(b.capability()), "reads": b.reads, "options": b.options}
            for name, b in BACKENDS.items()
        }
        print(json.dumps(found, indent=2))
        return 0
    for name, backend in BACKENDS.items():
        can = backend.capability()
        say(f"{name:<16} {can.version or 'not usable'}")
        for device, precisions in can.precisions.items():
            options = ", ".join(backend.options.get(device, ()))
            extra = f"; options: {options}" if options else ""
            say(f"{'':<16}   {device}: {', '.join(precisions)}{extra}")
        if can.precisions:
            say(f"{'':<16}   runs {' or '.join(backend.reads)}")
        if can.hint:
            say(f"{'':<16}   {can.hint}")
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    backends = commands.add(
        "backends",
        _backends,
        "list the inference backends on this machine, with their devices and precisions",
        """
        ppcls backends
        ppcls backends --json
        """,
    )
    backends.add_argument("--json", action="store_true", help="print a JSON object")
