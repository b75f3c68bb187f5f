"""Atomic file writes, checksums, and the cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ppcls.errors import RunError

__all__ = ["cache_home", "replacing", "sha256"]


def cache_home() -> Path:
    """Return the cache folder: `$PPCLS_HOME`, or `~/.cache/ppcls`."""
    home = os.environ.get("PPCLS_HOME")
    return Path(home).expanduser() if home else Path.home() / ".cache" / "ppcls"


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
