"""The errors that a user can cause.

Every message is one line (or one line per problem). It names the file, key or value, what was
expected, and the remedy. The command line prints the message without a traceback and exits with
`exit_status`: 2 for usage and configuration, 1 for data, weights and all run-time errors.
"""

from __future__ import annotations

from ppcls.printable import printable, shortened

__all__ = [
    "BundleError",
    "ConfigError",
    "DataError",
    "ImageError",
    "MissingDependencyError",
    "PpclsError",
    "RunError",
    "Stopped",
    "WeightsError",
]


class PpclsError(Exception):
    """Base of all errors that ppcls raises on purpose.

    Its arguments are lines. As text, each shows line breaks and control characters of names and
    values as escapes, and a line that holds megabytes is without its middle.
    """

    exit_status = 1

    def __str__(self) -> str:
        return "\n".join(shortened(printable(line)) for line in self.args)


class ConfigError(PpclsError):
    """The command line or the configuration is invalid."""

    exit_status = 2


class DataError(PpclsError):
    """A data set, an image list or a folder cannot be used."""


class ImageError(DataError):
    """One image cannot be read; the message names the image and the reason.

    Attributes:
        reason: why it cannot be read.
        source: the path, or a description of a source without one; None for a wrong type.
        recognised: the format that its first bytes indicate, or None.
    """

    def __init__(self, reason: str, source: str | None = None, recognised: str | None = None):
        reason = " ".join(reason.split())  # decoders' own messages may have several lines
        # Pass all arguments, so that the error survives pickling between processes.
        super().__init__(reason, source, recognised)
        self.reason = reason
        self.source = source
        self.recognised = recognised

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source is not None else ""
        what = f" (recognised as {self.recognised})" if self.recognised else ""
        return shortened(printable(f"{where}{self.reason}{what}"))


class WeightsError(PpclsError):
    """A weights file is missing, unreadable, or made for another model."""


class BundleError(PpclsError):
    """An exported model is incomplete, changed, or not made by ppcls."""


class RunError(PpclsError):
    """Training or evaluation cannot continue (non-finite loss, cannot write, no such device)."""


class Stopped(RunError):
    """A run was asked to stop and has saved a checkpoint.

    Attributes:
        exit_status: 130 after SIGINT and 143 after SIGTERM, by shell convention.
    """

    def __init__(self, message: str, exit_status: int):
        super().__init__(message, exit_status)
        self.exit_status = exit_status

    def __str__(self) -> str:
        return printable(self.args[0])


class MissingDependencyError(PpclsError, ImportError):
    """A required optional package is not installed; the message has the command to install it."""
