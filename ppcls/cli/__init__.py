"""The command line. Commands import their modules when they run, so that `--help` is fast."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ppcls.cli.options import Commands, UsageError, examples_text, parse
from ppcls.errors import PpclsError, Stopped
from ppcls.paddle_install import naming_missing_paddle
from ppcls.version import __version__

__all__ = ["main", "run"]

_MODULES = (
    *("fit", "train", "eval", "export", "infer", "predict", "backends", "benchmark"),
    *("models", "convert", "config", "data"),
)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Image classification on PaddlePaddle: train, evaluate, export, predict.",
        epilog=examples_text(
            """
            ppcls fit photos                               your own folder: photos/<class>/*.jpg
            ppcls predict output/photos/inference 7.jpg    predict with the model
            ppcls train --data photos --model HarDNet68    train all layers of a larger network
            ppcls list                                     the architectures
            ppcls data digits digits                       a small real data set
            ppcls train -c quick_start/HarDNet39_ds        train on it
            """
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ppcls {__version__}")
    commands = Commands(parser)
    for name in _MODULES:
        import_module(f"ppcls.cli.{name}").add_commands(commands)
    return parser


def _quiet_libraries() -> None:
    """Silence library messages that users cannot act on."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def main(argv: Sequence[str] | None = None, prog: str = "ppcls") -> int:
    """Run the command line of ppcls and return its exit status (see `run`)."""
    return run(_parser(prog), argv)


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse arguments, call `args.run(args)`, and return the exit status.

    0: success. 1: data, weights or run-time error. 2: usage or configuration error.
    130: interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names that the terminal cannot encode must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args: Any = parse(parser, argv)
    prog = parser.prog
    _quiet_libraries()
    try:
        with naming_missing_paddle():
            if plugins := getattr(args, "plugin", ()):
                from ppcls.plugins import load_plugins

                load_plugins(plugins)
            status = args.run(args)
        # Flush here, because errors at interpreter exit cannot be handled.
        sys.stdout.flush()
        return status
    except PpclsError as error:
        if isinstance(error, UsageError):
            args.parser.print_usage(sys.stderr)
        what = "" if isinstance(error, Stopped) else "error: "
        for line in str(error).splitlines():
            print(f"{prog}: {what}{line}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the pipe (`| head`) has exited; write nothing more to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            print(f"{prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
