"""`ppcls backends`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ppcls.cli.options import Commands


def _backends(args: argparse.Namespace) -> int:
    from ppcls.inference.backends import BACKENDS

    found = {name: backend.capability() for name, backend in BACKENDS.items()}
    if args.json:
        print(json.dumps({name: asdict(can) for name, can in found.items()}, indent=2))
        return 0
    for name, can in found.items():
        print(f"{name:<16} {can.version or 'not usable'}")
        for device, precisions in can.precisions.items():
            options = ", ".join(can.options.get(device, ()))
            extra = f"; options: {options}" if options else ""
            print(f"{'':<16}   {device}: {', '.join(precisions)}{extra}")
        if can.reads:
            print(f"{'':<16}   runs {' or '.join(can.reads)}")
        if can.hint:
            print(f"{'':<16}   {can.hint}")
    return 0


def add_commands(commands: Commands) -> None:
    """Add this command to the command line."""
    backends = commands.add(
        "backends",
        _backends,
        "print what can run exported models on this machine, and how",
        """
        ppcls backends
        ppcls backends --json
        """,
    )
    backends.add_argument("--json", action="store_true", help="print a JSON object")
