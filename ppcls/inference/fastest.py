"""Which backend was the fastest for a bundle on this machine, as `ppcls benchmark --tune` found.

It is kept in the user's cache, under the bundle's fingerprint: a bundle itself is never changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ppcls.bundle import SPEC_FILE, fingerprint
from ppcls.devices import cpu_name
from ppcls.files import cache_home, replacing

__all__ = ["recall", "remember"]


def _read(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return a bundle's file in the cache, and what it says; a damaged one says nothing."""
    path = cache_home() / "tuned" / f"{fingerprint(folder)[:16]}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return path, found if isinstance(found, dict) else {}


def _key(device: str, precision: str) -> str:
    # A home folder may be shared by machines.
    return f"{cpu_name()}, {device} {precision}"


def recall(folder: Path, device: str, precision: str) -> str | None:
    """Return the backend that was the fastest here; None where that is not known."""
    if not (folder / SPEC_FILE).is_file():
        return None
    return _read(folder)[1].get(_key(device, precision))


def remember(folder: Path, device: str, precision: str, backend: str) -> Path:
    """Note the fastest backend, and return the file that says so.

    Raises:
        RunError: the cache cannot be written to.
    """
    path, found = _read(folder)
    found[_key(device, precision)] = backend
    with replacing(path) as file:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return path
