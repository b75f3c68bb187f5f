"""The fastest backend for a bundle on this machine, as measured by `ppcls benchmark --tune`.

The user's cache stores it under the bundle's fingerprint; the bundle itself never changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ppcls.bundle import SPEC_FILE, fingerprint
from ppcls.devices import cpu_name
from ppcls.files import cache_home, read_regular, replacing

__all__ = ["recall", "remember"]

_LARGEST = 1 << 20


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return a bundle's cache file and its contents, which are empty if it is damaged."""
    path = cache_home() / "tuned" / f"{fingerprint(folder)[:16]}.json"
    try:
        found = json.loads(read_regular(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        found = None
    return path, found if isinstance(found, dict) else {}


def _key(device: str, precision: str) -> str:
    # Several machines may share a home folder.
    return f"{cpu_name()}, {device} {precision}"


def recall(folder: Path, device: str, precision: str) -> str | None:
    """Return the fastest backend on this machine; None if it is unknown."""
    if not (folder / SPEC_FILE).is_file():
        return None
    found = _read(folder)[1].get(_key(device, precision))
    return found if isinstance(found, str) else None


def remember(folder: Path, device: str, precision: str, backend: str) -> Path:
    """Store the fastest backend, and return its file.

    Raises:
        RunError: the cache cannot be written to.
    """
    path, found = _read(folder)
    found[_key(device, precision)] = backend
    with replacing(path) as file:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return path
