"""Checkpoints on disk: several files that are one, whole at any instant.

`<prefix>.pdparams` are the weights, `.pdopt` the optimizer's accumulators under the parameters'
structured names, `.pdstates` where the run stands, `.pdema` the raw weights where `.pdparams` holds
their average, and `.json` the manifest with the checksums of the others. New files are written
beside the old ones as `<prefix>.new.*`, the manifest is renamed into place, and only then are the
files. Until the manifest is there the old checkpoint is whole; from then on the new one is, some of
its files perhaps still under their new names.
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
from ppcls.models.weights import read_pickle

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
    """A checkpoint that is whole: its files are what the run has saved.

    Attributes:
        prefix: its path without suffix.
        files: by suffix.
        epoch: complete epochs.
        step: updates of the epoch that follows.
        names: other names, in the same folder, under which the run keeps the same state.
        published: written by other code, which leaves no manifest.
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
    """Write a checkpoint; a kill at any instant leaves the earlier one or this one whole.

    Args:
        prefix: its path without suffix.
        contents: by suffix; `.pdparams` and `.pdema` are maps of names to arrays, the others plain
            data with arrays.
        epoch: complete epochs.
        step: updates of the epoch that follows.
        names: other names that the caller is about to give it with `copy_checkpoint`.

    Raises:
        RunError: the files cannot be written; the earlier checkpoint is as it was.
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
    """Whether the manifest is that of new files, which then are the checkpoint's own."""
    try:
        checksums = json.loads(_beside(prefix, ".json").read_text())["sha256"]
        return any(p.exists() and sha256(p) == checksums.get(s) for s, p in new.items())
    except (OSError, ValueError, KeyError):
        return False


def copy_checkpoint(source: Checkpoint, prefix: Path) -> None:
    """Give a checkpoint a second name, without writing its files again where links are possible.

    Raises:
        RunError: the files cannot be written; what had the name is as it was.
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
    """Whether `copy_checkpoint` has given a checkpoint this name, to the end."""
    ours, theirs = _beside(checkpoint.prefix, ".json"), _beside(prefix, ".json")
    if not theirs.is_file() or theirs.read_bytes() != ours.read_bytes():
        return False
    return not any(path.exists() for path in _new_files(prefix, list(SUFFIXES)).values())


def remove_checkpoint(prefix: Path) -> None:
    """Delete a checkpoint, its manifest first: what is left of a part of it is none."""
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
    """Find the files of a checkpoint and hold them against its manifest.

    Args:
        checkpoint: its path without suffix, such as `output/x/HarDNet39_ds/latest`.
        last_epoch: the last complete epoch, counted from 0, for one that does not say it itself.

    Raises:
        ConfigError: the checkpoint says that its last epoch is another one.
        WeightsError: there is no whole checkpoint.
    """
    found = _open(checkpoint, last_epoch)
    if last_epoch is not None and found.epoch != last_epoch + 1:
        raise ConfigError(
            f"Global.last_epoch is {last_epoch}, and the last complete epoch of {found.prefix}, "
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
            raise WeightsError(f"{candidates[0]}: missing, or not the file that the run has saved")
        files[suffix] = found[0]
    place = {key: manifest[key] for key in ("epoch", "step")}
    return Checkpoint(prefix, files, **place, names=tuple(manifest["names"]))


def _published(prefix: Path, last_epoch: int | None) -> Checkpoint:
    """Return a checkpoint of PaddleClas, which writes no manifest; ours is none without it.

    That of 2.0 has no `.pdstates` and leaves it to its user to know the epoch.
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
        f"{prefix}: no checkpoint to resume: there is no {prefix.name}.json; weights alone are "
        "a start for Global.pretrained_model"
    )


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint of a folder that is furthest in the run, and what to tell the user.

    One that is damaged is passed over, and said.
    """
    found = []
    notes = []
    for path in [*folder.glob("*.json"), *folder.glob("*/ppcls.json")]:
        is_latest = "latest" in (path.stem, path.parent.name)
        if _beside(path.with_suffix(""), ".pdstates").exists() or is_latest:
            try:
                manifest = _read_manifest(path)
            except WeightsError as error:
                notes.append(f"passed over: {error}")
                continue
            place = (manifest["epoch"], manifest["step"], is_latest)
            found.append((place, path.with_suffix("")))
    for _, prefix in sorted(found, reverse=True):
        try:
            return open_checkpoint(prefix), notes
        except WeightsError as error:
            notes.append(f"passed over: {error}")
    return None, notes


def checkpoint_weights(checkpoint: str | Path) -> Path:
    """Return the weights of a checkpoint that one would deploy.

    Raises:
        WeightsError: there is no whole checkpoint.
    """
    return open_checkpoint(checkpoint).files[".pdparams"]
