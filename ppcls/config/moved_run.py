"""A run that was moved with its data: its `config.yaml` names places that are gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ppcls.config.yaml_files import Key, dotted, holds

__all__ = ["RUNS_FILE", "RUN_CONFIG", "follow_run", "path_keys", "recorded_place"]

RUN_CONFIG, RUNS_FILE = "config.yaml", "runs.jsonl"

_WRITTEN: tuple[Key, ...] = (("Global", "save_inference_dir"), ("Global", "vdl_dir"))
_READ: tuple[Key, ...] = (
    *(
        ("DataLoader", part, "dataset", name)
        for part in ("Train", "Eval")
        for name in ("image_root", "cls_label_path")
    ),
    ("Infer", "PostProcess", "class_id_map_file"),
)
_OUTPUT: Key = ("Global", "output_dir")


def path_keys(data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the paths of a configuration's data, class names and runs: their maps and keys."""
    for key in (_OUTPUT, *_WRITTEN, *_READ):
        if holds(data, key):
            yield _section(data, key), str(key[-1])


def _section(data: Any, key: Key) -> Any:
    for part in key[:-1]:
        data = data[part]
    return data


def recorded_place(data: dict[str, Any], path: Path) -> Path | None:
    """Return the folder in which a run was written, if this is the contents of its `config.yaml`.

    Args:
        data: the contents of the file.
        path: the file.
    """
    arch, section = data.get("Arch"), data.get("Global")
    name = arch.get("name") if isinstance(arch, dict) else None
    output = section.get("output_dir") if isinstance(section, dict) else None
    if path.name != RUN_CONFIG or not (path.parent / RUNS_FILE).is_file():
        return None
    if not (isinstance(name, str) and isinstance(output, str) and os.path.isabs(output)):
        return None
    return Path(output) / name


def follow_run(data: dict[str, Any], origins: dict[Key, str], path: Path, was: Path) -> list[str]:
    """Replace paths of a run's `config.yaml` that are gone, if the run was moved with them.

    A path is taken relative to the folder in which the run was written, and looked for there from
    where the run is now. Paths that the user has set stay as they are.

    Args:
        data: the contents of the file with the user's overrides; they are changed.
        origins: where the values come from; changed, too.
        path: the file.
        was: the folder in which the run was written.

    Returns:
        A line for the user, if anything was replaced.
    """
    here = Path(os.path.abspath(path)).parent
    is_gone = not was.exists()
    found: dict[Key, str] = {}
    for key in (_OUTPUT, *_WRITTEN, *_READ):
        if not holds(data, key) or not origins.get(key, "").startswith(f"{path}:"):
            continue
        old = _section(data, key)[key[-1]]
        if not isinstance(old, str) or not os.path.isabs(old):
            continue
        if key == _OUTPUT:
            if is_gone:
                found[key] = str(here.parent)
        elif (is_gone or key in _READ) and not os.path.exists(old):
            new = os.path.normpath(here / os.path.relpath(old, was))
            if os.path.exists(os.path.dirname(new) if key in _WRITTEN else new):
                found[key] = new
    if not found:
        return []
    for key, new in found.items():
        _section(data, key)[key[-1]] = new
        origins[key] = f"{path} (moved)"
    shown = ", ".join(f"{dotted(key)}={new}" for key, new in found.items())
    return [f"{path}: the run has moved from {was}; paths that are gone are read here: {shown}"]
