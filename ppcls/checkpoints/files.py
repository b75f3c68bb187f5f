"""Checkpoints on disk: several files with a manifest, written atomically.

`<prefix>.pdparams` holds the weights, `.pdopt` the optimizer's accumulators under the parameters'
structured names, `.pdstates` the progress of the run, `.pdema` the raw weights if `.pdparams` holds
their average, and `.json` the manifest with the checksums of the other files. Writing creates new
files as `<prefix>.new.*`, renames the manifest into place, and then the other files. Before the
manifest is renamed the old checkpoint is valid; afterwards the new one is, even if some of its
files still have the name `.new.*`.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppcls.errors import ConfigError, RunError, WeightsError
from ppcls.files import replacing, sha256
from ppcls.models.weight_files import read_pickle

__all__ = [
    "Checkpoint",
    "checkpoint_weights",
    "copy_checkpoint",
    "has_name",
    "newest_checkpoint",
    "open_checkpoint",
    "remove_checkpoint",
    "write_checkpoint",
]

SUFFIXES = (".pdparams", ".pdopt", ".pdstates", ".pdema")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its files match its manifest.

    Attributes:
        prefix: its path without suffix.
        files: its files by suffix.
        epoch: number of complete epochs.
        step: number of updates in the next epoch.
        names: other names of the same checkpoint in the same folder.
        published: whether PaddleClas wrote it, which writes no manifest.
    """

    prefix: Path
    files: dict[str, Path]
    epoch: int = 0
    step: int = 0
    names: tuple[str, ...] = ()
    published: bool = False


def _beside(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _commit(prefix: Path, new: Mapping[str, Path], manifest: Mapping[str, Any]) -> None:
    with replacing(_beside(prefix, ".json")) as file:
        file.write_text(json.dumps(manifest, indent=1))
    try:
        for suffix, path in new.items():
            path.replace(_beside(prefix, suffix))
    except OSError as error:
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None
    for suffix in set(SUFFIXES) - set(new):
        _beside(prefix, suffix).unlink(missing_ok=True)


def _new_files(prefix: Path, suffixes: list[str]) -> dict[str, Path]:
    return {suffix: _beside(prefix, f".new{suffix}") for suffix in suffixes}


def write_checkpoint(
    prefix: Path,
    contents: Mapping[str, Any],
    *,
    epoch: int,
    step: int,
    names: tuple[str, ...] = (),
) -> Checkpoint:
    """Write a checkpoint; a kill at any time leaves either the earlier one or this one complete.

    Args:
        prefix: its path without suffix.
        contents: the contents by suffix; `.pdparams` and `.pdema` map names to arrays, the others
            are plain data with arrays.
        epoch: number of complete epochs.
        step: number of updates in the next epoch.
        names: other names that the caller will add with `copy_checkpoint`.

    Raises:
        RunError: the files cannot be written; the earlier checkpoint is unchanged.
    """
    new = _new_files(prefix, list(contents))
    try:
        for suffix, content in contents.items():
            with replacing(new[suffix]) as file, file.open("wb") as stream:
                pickle.dump(content, stream, protocol=4)
        checksums = {suffix: sha256(path) for suffix, path in new.items()}
        manifest = {"epoch": epoch, "step": step, "names": list(names), "sha256": checksums}
        _commit(prefix, new, manifest)
    except OSError as error:
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None
    except RunError:
        if not _is_committed(prefix, new):
            for path in new.values():
                with suppress(OSError):
                    path.unlink()
        raise
    return Checkpoint(prefix, {s: _beside(prefix, s) for s in contents}, epoch, step, names)


def _is_committed(prefix: Path, new: Mapping[str, Path]) -> bool:
    """Whether the manifest lists the new files, so that they belong to the checkpoint."""
    try:
        checksums = json.loads(_beside(prefix, ".json").read_text())["sha256"]
        return any(p.exists() and sha256(p) == checksums.get(s) for s, p in new.items())
    except (OSError, ValueError, KeyError):
        return False


def copy_checkpoint(source: Checkpoint, prefix: Path) -> None:
    """Copy a checkpoint to another name, with hard links if possible.

    Raises:
        RunError: the files cannot be written; an earlier checkpoint of that name is unchanged.
    """
    manifest = json.loads(_beside(source.prefix, ".json").read_text())
    new = _new_files(prefix, list(source.files))
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        for suffix, path in source.files.items():
            new[suffix].unlink(missing_ok=True)
            try:
                os.link(path, new[suffix])
            except OSError:
                shutil.copy(path, new[suffix])
    except OSError as error:
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None
    _commit(prefix, new, manifest)


def has_name(checkpoint: Checkpoint, prefix: Path) -> bool:
    """Whether a complete copy of a checkpoint has this name."""
    ours, theirs = _beside(checkpoint.prefix, ".json"), _beside(prefix, ".json")
    if not theirs.is_file() or theirs.read_bytes() != ours.read_bytes():
        return False
    return not any(path.exists() for path in _new_files(prefix, list(SUFFIXES)).values())


def remove_checkpoint(prefix: Path) -> None:
    """Delete a checkpoint, manifest first, so that a partly deleted one is not valid."""
    for suffix in (".json", *SUFFIXES):
        _beside(prefix, suffix).unlink(missing_ok=True)
        _beside(prefix, f".new{suffix}").unlink(missing_ok=True)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        return {"epoch": 0, "step": 0, "names": []} | manifest | {"sha256": manifest["sha256"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: cannot read the manifest: {error}") from None


def open_checkpoint(checkpoint: str | Path, last_epoch: int | None = None) -> Checkpoint:
    """Find the files of a checkpoint and verify them against its manifest.

    Args:
        checkpoint: its path without suffix, such as `output/x/HarDNet39_ds/latest`.
        last_epoch: the last complete epoch, counted from 0, for a checkpoint without a record of
            it.

    Raises:
        ConfigError: the checkpoint records another last epoch.
        WeightsError: there is no complete checkpoint.
    """
    found = _open(checkpoint, last_epoch)
    if last_epoch is not None and found.epoch != last_epoch + 1:
        raise ConfigError(
            f"Global.last_epoch is {last_epoch}, but the last complete epoch of {found.prefix}, "
            f"counted from 0, is {found.epoch - 1}; leave Global.last_epoch out"
        )
    return found


def _open(checkpoint: str | Path, last_epoch: int | None) -> Checkpoint:
    prefix = Path(str(checkpoint).removesuffix(".pdparams"))
    path = _beside(prefix, ".json")
    if not path.is_file():
        return _published(prefix, last_epoch)
    manifest = _read_manifest(path)
    files = {}
    for suffix, checksum in manifest["sha256"].items():
        candidates = (_beside(prefix, suffix), _beside(prefix, f".new{suffix}"))
        found = [p for p in candidates if p.is_file() and sha256(p) == checksum]
        if not found:
            raise WeightsError(f"{candidates[0]}: missing, or not the file that the run saved")
        files[suffix] = found[0]
    place = {key: manifest[key] for key in ("epoch", "step")}
    return Checkpoint(prefix, files, **place, names=tuple(manifest["names"]))


def _published(prefix: Path, last_epoch: int | None) -> Checkpoint:
    """Return a PaddleClas checkpoint, which has no manifest; a ppcls checkpoint needs one.

    PaddleClas 2.0 writes no `.pdstates`, so the user has to name the epoch.
    """
    files = {s: _beside(prefix, s) for s in SUFFIXES if _beside(prefix, s).is_file()}
    if {".pdparams", ".pdopt"} <= set(files):
        if ".pdstates" in files:
            state = read_pickle(files[".pdstates"])
            if isinstance(state, dict) and "progress" not in state and "epoch" in state:
                return Checkpoint(prefix, files, int(state["epoch"]), published=True)
        elif last_epoch is not None:
            return Checkpoint(prefix, files, last_epoch + 1, published=True)
    raise WeightsError(
        f"{prefix}: no checkpoint to resume: there is no {prefix.name}.json; to use weights alone, "
        "set Global.pretrained_model"
    )


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint of a folder with the most progress, and lines to show the user.

    Damaged checkpoints are skipped with a note.
    """
    found = []
    notes = []
    for path in [*folder.glob("*.json"), *folder.glob("*/ppcls.json")]:
        is_latest = "latest" in (path.stem, path.parent.name)
        if _beside(path.with_suffix(""), ".pdstates").exists() or is_latest:
            try:
                manifest = _read_manifest(path)
            except WeightsError as error:
                notes.append(f"skipped: {error}")
                continue
            place = (manifest["epoch"], manifest["step"], is_latest)
            found.append((place, path.with_suffix("")))
    for _, prefix in sorted(found, reverse=True):
        try:
            return open_checkpoint(prefix), notes
        except WeightsError as error:
            notes.append(f"skipped: {error}")
    return None, notes


def checkpoint_weights(checkpoint: str | Path) -> Path:
    """Return the weights of a checkpoint to deploy.

    Raises:
        WeightsError: there is no complete checkpoint.
    """
    return open_checkpoint(checkpoint).files[".pdparams"]
