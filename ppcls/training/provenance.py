"""The provenance of a run: its command, package versions and the state of the code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import paddle

from ppcls.checkpoints.records import Start, record_of
from ppcls.config.moved_run import RUNS_FILE
from ppcls.devices import cpu_name
from ppcls.errors import RunError
from ppcls.files import open_log, read_regular
from ppcls.plugins import load_plugins
from ppcls.version import __version__

__all__ = ["changed_machine", "record_start"]

_LARGEST = 1 << 28
_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "pydantic", "simplejpeg", "visualdl")


def _git(*arguments: str) -> str | None:
    """Return git's output for the repository of the working directory; None without one."""
    try:
        found = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"ppcls": __version__, "paddle": paddle.__version__}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def changed_machine(
    folder: Path, device: str, processes: int, plugins: Sequence[str] = ()
) -> list[str]:
    """Return how device, processes and plug-ins differ from the last start in a run's folder."""
    path = folder / RUNS_FILE
    if not path.exists():
        return []
    try:
        lines = read_regular(path, _LARGEST).splitlines()
        last = record_of(Start, lines[-1])
    except (OSError, ValueError, IndexError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        return [f"device, processes or plug-ins, perhaps: {path}: cannot read its end: {why}"]
    was = {"device": last.device, "processes": last.processes}
    known = {plugin.name: plugin.sha256 for plugin in last.plugins}
    now = {"device": device, "processes": processes}
    edited = [p.name for p in load_plugins(plugins) if known.get(p.name, p.sha256) != p.sha256]
    changed = [f"{key} {was[key]} -> {now[key]}" for key in was if was[key] != now[key]]
    return changed + [f"the code of the plug-in {name}" for name in edited]


def record_start(
    folder: Path, device: str, processes: int = 1, plugins: Sequence[str] = ()
) -> None:
    """Append one JSON object for this start of a run to `runs.jsonl`.

    It holds the command line, the working directory, the versions of Python and of the packages,
    the machine and the plug-ins. In a git repository it also holds the commit and the changed
    files.

    Raises:
        RunError: the file cannot be written.
    """
    changed = _git("status", "--porcelain")
    record: dict[str, Any] = {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "directory": os.getcwd(),
        "host": platform.node(),
        "cpu": cpu_name(),
        "device": device,
        "processes": processes,
        "python": platform.python_version(),
        "packages": _versions(),
        "plugins": [plugin.model_dump(exclude={"classes"}) for plugin in load_plugins(plugins)],
        "git": {"commit": _git("rev-parse", "HEAD"), "changed": (changed or "").splitlines()},
    }
    path = folder / RUNS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_log(path, append=True) as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
