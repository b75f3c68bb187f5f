"""Atomic file writes, files that grow, bounded reads, checksums, and the cache folder."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from ppcls.errors import RunError

__all__ = [
    "added_suffix",
    "cache_home",
    "check_regular",
    "move",
    "open_log",
    "open_plain",
    "read_regular",
    "replacing",
    "sha256",
]

_LARGEST_LOG = 1 << 30


def cache_home() -> Path:
    """Return the cache folder: `$PPCLS_HOME`, or `~/.cache/ppcls`."""
    home = os.environ.get("PPCLS_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "ppcls"


def check_regular(path: str | os.PathLike, most: int) -> None:
    """Check, before a file is opened, that reading it ends: pipes block, and devices may not end.

    Args:
        path: the file, or a link to it.
        most: the largest accepted size in bytes.

    Raises:
        OSError: there is no such file, it is not a regular file, or it is larger; `strerror` says
            which.
        ValueError: the path is not a possible file name.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    if found.st_size > most:
        limit = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
        raise OSError(errno.EFBIG, f"larger than {limit}", os.fspath(path))


def read_regular(path: str | os.PathLike, most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        OSError, ValueError: as `check_regular`, or the file cannot be read.
    """
    check_regular(path, most)
    with open(path, "rb") as file:
        return file.read(most)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, then sync it and rename it to `path`.

    Raises:
        RunError: the file system refuses (full, read-only, gone); `path` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link of that name would be followed, and its target overwritten.
        temporary.unlink(missing_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
    finally:
        # Without the folder there is no such file; the error above reports why.
        with suppress(OSError):
            temporary.unlink()


def added_suffix(path: Path, suffix: str) -> Path:
    """Return a path with this text after its name; `/` and `.`, too, which have no name."""
    return path.parent / f"{path.name}{suffix}"


def move(source: Path, target: Path) -> None:
    """Rename a file over another, so that afterwards there is no `source`.

    Raises:
        OSError: the file system refuses.
    """
    source.replace(target)
    # The system ignores a rename between two hard links of one file.
    source.unlink(missing_ok=True)


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file, and neither a symbolic link nor a pipe nor a device.

    Args:
        path: the file.
        flags: as for `os.open`.

    Returns:
        The file descriptor.

    Raises:
        OSError: it is something else, or cannot be opened.
    """
    if path.is_symlink():
        reason = "a symbolic link, which is not followed for writing; remove it"
        raise OSError(errno.ELOOP, reason, str(path))
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def open_log(path: Path, *, append: bool) -> TextIO:
    """Open a growing file of UTF-8 text to write to; never one that another name leads to.

    A file with several names (hard links) is copied first, so that the others stay as they are.

    Args:
        path: the file.
        append: whether to keep what it holds.

    Raises:
        RunError: it is a symbolic link or no regular file, or the file system refuses.
    """
    try:
        descriptor = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if os.fstat(descriptor).st_nlink > 1 or not append:
            os.close(descriptor)
            kept = read_regular(path, _LARGEST_LOG) if append else b""
            with replacing(path) as file:
                file.write_bytes(kept)
            descriptor = open_plain(path, os.O_WRONLY | os.O_APPEND)
        # Names of files may hold bytes that are not UTF-8.
        return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
