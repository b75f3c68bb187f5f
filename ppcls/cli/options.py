"""Shared code of the commands: options, their types, and reading a configuration from them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from ppcls.errors import ConfigError
from ppcls.inference.types import Device, InferencePrecision
from ppcls.printable import printable, shortened
from ppcls.spelling import did_you_mean

if TYPE_CHECKING:
    from ppcls.config import Config

__all__ = [
    "Commands",
    "Parser",
    "UsageError",
    "add_backend_options",
    "add_check_option",
    "add_config_options",
    "add_data_option",
    "add_override_option",
    "add_plugin_option",
    "checked",
    "config_of",
    "examples_text",
    "launched_processes",
    "natural",
    "parse",
    "png_file",
    "positive",
    "score",
    "share",
]


class Parser(argparse.ArgumentParser):
    """Shows control characters of the arguments as escapes."""

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and the message."""
        super().error(shortened(printable(message)))


class UsageError(ConfigError):
    """The options of a command do not fit together; the command's usage is also shown."""


def config_of(args: argparse.Namespace) -> Config:
    """Return the configuration that `-c`, `--data` and `-o` describe."""
    from ppcls.config import load_config

    overrides = [f"Global.plugins+={json.dumps(name)}" for name in args.plugin]
    overrides += [o for group in args.override for o in group]
    processes = launched_processes()
    data = getattr(args, "data", None)
    return load_config(args.config, overrides, data=data, processes=processes)


def launched_processes() -> int:
    """Return how many processes Paddle's launcher has started for this command.

    Raises:
        ConfigError: PADDLE_TRAINERS_NUM, which the launcher sets, is not a number of processes.
    """
    text = os.environ.get("PADDLE_TRAINERS_NUM", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"PADDLE_TRAINERS_NUM={text!r}: expected a number of processes")
    return int(text)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; report unknown options as errors of the named command."""
    arguments = sys.argv[1:] if argv is None else argv
    for argument in arguments:
        if "\0" in argument:  # only a caller in Python can pass it
            parser.error(f"the character '\\0' in the argument {argument!r}")
    args, unknown = parser.parse_known_args(arguments)
    command = getattr(args, "parser", parser)
    if unknown:
        options = [o for action in command._actions for o in action.option_strings]
        hint = did_you_mean(unknown[0].partition("=")[0], options)
        command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return args


def png_file(text: str) -> str:
    """Check that an argument names a .png file in an existing folder."""
    path = Path(text)
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a .png file in an existing folder, not {text}")
    return text


def checked(
    read: Callable[[str], float], fits: Callable[[float], bool], expected: str
) -> Callable[[str], Any]:
    """Return an argument type that converts text with `read` and checks the value with `fits`."""

    def checked_value(text: str) -> float:
        with suppress(ValueError):
            value = read(text)
            if fits(value):
                return value
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text}")

    return checked_value


share = checked(float, lambda value: 0 < value < 1, "a number above 0 and below 1")
score = checked(float, lambda value: 0 <= value <= 1, "a score, 0 to 1")
natural = checked(int, lambda value: value >= 0, "a whole number, 0 or more")
positive = checked(int, lambda value: value > 0, "a positive integer")


class _CommandParser(argparse.ArgumentParser):
    """The parser of a command, which takes options before, between and after its arguments.

    argparse gives an optional argument no value if an option stands before it, as in
    `export NAME --weights FILE DIR`, unless it is asked to collect the options first.
    """

    _collects = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._collects or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._collects = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._collects = False


class Commands:
    """The parser of the whole command line, built command by command."""

    def __init__(self, parser: argparse.ArgumentParser):
        self._sub = parser.add_subparsers(
            metavar="COMMAND", required=True, parser_class=_CommandParser
        )

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], about: str, examples: str
    ) -> argparse.ArgumentParser:
        """Add a command, with its help, and return its parser."""
        command = self._sub.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=examples_text(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_plugin_option(command)
        command.set_defaults(run=run, parser=command)
        return command


def examples_text(text: str) -> str:
    """Return the examples at the end of a help text."""
    return "examples:\n" + textwrap.indent(textwrap.dedent(text).strip(), "  ")


def add_backend_options(command: argparse._ActionsContainer) -> None:
    """Add the options of the backend."""
    command.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="inference backend, from `ppcls backends` (default: the fastest here)",
    )
    command.add_argument("--device", choices=get_args(Device), default="auto")
    command.add_argument("--precision", choices=get_args(InferencePrecision), default="fp32")
    command.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: all cores)"
    )


def add_plugin_option(command: argparse.ArgumentParser) -> None:
    """Add `--plugin`."""
    command.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module, or a .py file, that registers your own architectures, "
        "transforms, losses … (in a configuration: Global.plugins); may be repeated",
    )


def add_override_option(command: argparse.ArgumentParser) -> None:
    """Add `-o`."""
    command.add_argument(
        "-o",
        "--override",
        action="append",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="set a value, such as Global.epochs=10 or KEY=null; KEY+=VALUE appends to a list; "
        "may be repeated",
    )


def add_data_option(command: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    command.add_argument(
        "--data",
        metavar="DIR",
        help="a folder prepared by `ppcls data split` (`ppcls train` prepares it if it has no "
        "lists): sets the lists, the number of classes and their names (-o overrides it)",
    )


def add_config_options(
    command: argparse.ArgumentParser, *, weights: bool, data: bool, required: bool = True
) -> None:
    """Add `-c` and `-o`, and, if requested, `--data` and `--allow-random`."""
    command.add_argument(
        "-c",
        "--config",
        required=required,
        metavar="CONFIG",
        help="YAML file, or the name of one that ppcls ships, such as quick_start/HarDNet39_ds",
    )
    add_override_option(command)
    if data:
        add_data_option(command)
    if weights:
        command.add_argument("--allow-random", action="store_true", help="accept untrained weights")


def add_check_option(command: argparse.ArgumentParser) -> None:
    """Add `--check`."""
    command.add_argument(
        "--check",
        action="store_true",
        help="read the lists, build everything, compute one batch, write nothing",
    )
