"""The command line. Commands import their modules when they run, so that `--help` is fast."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

from ppcls.cli.options import Commands, Parser, UsageError, examples_text, parse
from ppcls.errors import PpclsError, Stopped
from ppcls.paddle_install import naming_missing_paddle
from ppcls.printable import say, shortened
from ppcls.version import __version__

__all__ = ["main", "run"]

_MODULES = (
    *("train", "eval", "export", "infer", "predict", "backends", "benchmark"),
    *("models", "convert", "config", "data"),
)

_TRACEBACK = "PPCLS_TRACEBACK"


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Image classification on PaddlePaddle: train, evaluate, export, predict.",
        epilog=examples_text(
            """
            ppcls list                                     the architectures
            ppcls data digits digits                       a small real data set
            ppcls train -c quick_start/HarDNet39_ds        train on it
            ppcls data split photos                        your own folder: photos/<class>/*.jpg
            ppcls train -c quick_start/folder --data photos
            ppcls predict output/digits/inference 7.png    predict with an exported model
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
    warnings.filterwarnings("ignore", message="When training, we now always track global mean")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _show_warning(prog: str, message: Warning | str, *place: Any, **options: Any) -> None:
    print(f"{prog}: warning: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None, prog: str = "ppcls") -> int:
    """Run the command line of ppcls and return its exit status (see `run`)."""
    return run(_parser(prog), argv)


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse arguments, call `args.run(args)`, and return the exit status.

    0: success. 1: data, weights or run-time error. 2: usage or configuration error.
    130: interrupted. No exception leaves it; `PPCLS_TRACEBACK=1` in the environment shows the
    traceback of an unexpected one.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell (`>&-`)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            # Names that the terminal cannot encode must not end the command.
            stream.reconfigure(errors="backslashreplace")
    prog = parser.prog
    try:
        args: Any = parse(parser, argv)
    except SystemExit:
        if _output_fails(prog):
            sys.exit(1)
        raise
    try:
        with warnings.catch_warnings(), naming_missing_paddle():
            warnings.showwarning = partial(_show_warning, prog)
            _quiet_libraries()
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
            say(f"{prog}: {what}{line}", sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        say(f"{prog}: interrupted", sys.stderr)
        return 130
    except Exception as error:
        nameless = isinstance(error, OSError) and error.filename is None
        if not _output_fails(prog, probe=nameless):
            say(f"{prog}: error: {_unexpected(error)}", sys.stderr)
        return 1


def _output_fails(prog: str, probe: bool = False) -> bool:
    """Whether standard output takes no more; say so, unless the reader of a pipe has exited.

    An error that names no file may be that of an earlier `print`: `probe` tries with a line break.
    """
    try:
        sys.stdout.flush()
        if probe:
            os.write(sys.stdout.fileno(), b"\n")
    except io.UnsupportedOperation:  # it is no file
        return False
    except OSError as error:
        # Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            reason = error.strerror
            say(f"{prog}: error: standard output: cannot write: {reason}", sys.stderr)
        return True
    return False


def _unexpected(error: Exception) -> str:
    """Describe an error that is not one of ours; its traceback goes to standard error on request.

    The system's own errors name a file and a reason. Any other is a fault, of ppcls or of a
    plug-in.
    """
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    if isinstance(error, MemoryError):
        return f"not enough memory{f': {error}' if str(error) else ''}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return shortened(
        f"unexpected {type(error).__name__} at {frame.filename}:{frame.lineno}: {error}; unless "
        "this is your own plug-in, please report it with the command and `ppcls --version` "
        f"({_TRACEBACK}=1 in the environment shows the traceback)"
    )
