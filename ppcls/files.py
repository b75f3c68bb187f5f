"""Bounded reads, atomic file writes, checksums, and the cache folder."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ppcls.errors import RunError

__all__ = ["cache_home", "check_regular", "read_regular", "replacing", "sha256"]


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


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
