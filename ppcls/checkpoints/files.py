"""Checkpoints on disk: several files with a manifest, written atomically.

`<prefix>.pdparams` holds the weights, `.pdopt` the optimizer's accumulators under the parameters'
structured names, `.pdstates` the progress of the run, `.pdema` the raw weights if `.pdparams` holds
their average, and `.json` the manifest with the checksums of the other files. Writing creates new
files as `<prefix>.new.*`, renames the manifest into place, and then the other files. Before the
manifest is renamed the old checkpoint is valid; afterwards the new one is, even if some of its
files still have the name `.new.*`.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppcls.checkpoints.records import Manifest, PublishedStates, read_manifest, read_states
from ppcls.errors import ConfigError, RunError, WeightsError
from ppcls.files import added_suffix, move, replacing, sha256
from ppcls.models.weight_files import read_pickle

__all__ = [
    "Checkpoint",
    "checkpoint_weights",
    "copy_checkpoint",
    "finish_writing",
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


def _commit(prefix: Path, new: Mapping[str, Path], manifest: Manifest) -> None:
    with replacing(added_suffix(prefix, ".json")) as file:
        file.write_text(manifest.model_dump_json(indent=1))
    try:
        for suffix, path in new.items():
            move(path, added_suffix(prefix, suffix))
        for suffix in set(SUFFIXES) - set(new):
            added_suffix(prefix, suffix).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None


def _new_files(prefix: Path, suffixes: list[str]) -> dict[str, Path]:
    return {suffix: added_suffix(prefix, f".new{suffix}") for suffix in suffixes}


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
    with _removing_partial(prefix, new):
        for suffix, content in contents.items():
            with replacing(new[suffix]) as file, file.open("wb") as stream:
                pickle.dump(content, stream, protocol=4)
        checksums: dict[Any, str] = {suffix: sha256(path) for suffix, path in new.items()}
        manifest = Manifest(epoch=epoch, step=step, names=list(names), sha256=checksums)
        _commit(prefix, new, manifest)
    return Checkpoint(prefix, {s: added_suffix(prefix, s) for s in contents}, epoch, step, names)


@contextmanager
def _removing_partial(prefix: Path, new: Mapping[str, Path]) -> Iterator[None]:
    """Remove the new files after an error, unless the manifest lists them already."""
    try:
        yield
    except (OSError, RunError) as error:
        if not _is_committed(prefix, new):
            for path in new.values():
                with suppress(OSError):
                    path.unlink()
        if isinstance(error, RunError):
            raise
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None


def _is_committed(prefix: Path, new: Mapping[str, Path]) -> bool:
    """Whether the manifest lists the new files, so that they belong to the checkpoint."""
    try:
        checksums: dict[Any, str] = read_manifest(added_suffix(prefix, ".json")).sha256
        return any(p.exists() and sha256(p) == checksums.get(s) for s, p in new.items())
    except (OSError, WeightsError):
        return False


def finish_writing(prefix: Path) -> None:
    """Move the new files that a kill has left to their places, or remove them.

    Those that the manifest lists belong to the checkpoint. Without a readable manifest nothing is
    removed, unless there is none.

    Raises:
        RunError: the file system refuses.
    """
    new = {s: p for s, p in _new_files(prefix, list(SUFFIXES)).items() if p.is_file()}
    path = added_suffix(prefix, ".json")
    try:
        checksums: dict[Any, str] = read_manifest(path).sha256 if path.exists() else {}
        for suffix, file in new.items():
            place = added_suffix(prefix, suffix)
            if checksums.get(suffix) == sha256(file):
                move(file, place)
            else:
                file.unlink()
    except OSError as error:
        raise RunError(f"{prefix}: cannot write: {error.strerror or error}") from None
    except WeightsError:
        pass  # whoever opens the checkpoint reports it


def copy_checkpoint(source: Checkpoint, prefix: Path) -> None:
    """Copy a checkpoint to another name, with hard links if possible.

    Raises:
        RunError: the files cannot be written; an earlier checkpoint of that name is unchanged.
        WeightsError: the manifest of the source cannot be read.
    """
    manifest = read_manifest(added_suffix(source.prefix, ".json"))
    new = _new_files(prefix, list(source.files))
    with _removing_partial(prefix, new):
        prefix.parent.mkdir(parents=True, exist_ok=True)
        for suffix, path in source.files.items():
            new[suffix].unlink(missing_ok=True)
            try:
                os.link(os.path.realpath(path), new[suffix])
            except OSError:
                shutil.copy(path, new[suffix])
        _commit(prefix, new, manifest)


def has_name(checkpoint: Checkpoint, prefix: Path) -> bool:
    """Whether a complete copy of a checkpoint has this name."""
    ours, theirs = (added_suffix(p, ".json") for p in (checkpoint.prefix, prefix))
    try:
        if read_manifest(theirs) != read_manifest(ours):
            return False
    except WeightsError:
        return False
    return not any(path.exists() for path in _new_files(prefix, list(SUFFIXES)).values())


def remove_checkpoint(prefix: Path) -> None:
    """Delete a checkpoint, manifest first, so that a partly deleted one is not valid."""
    for suffix in (".json", *SUFFIXES):
        added_suffix(prefix, suffix).unlink(missing_ok=True)
        added_suffix(prefix, f".new{suffix}").unlink(missing_ok=True)


def open_checkpoint(checkpoint: str | Path, last_epoch: int | None = None) -> Checkpoint:
    """Find the files of a checkpoint and verify them against its manifest.

    Args:
        checkpoint: its path, such as `output/x/HarDNet39_ds/latest`, or that of one of its files.
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
    prefix = Path(checkpoint)
    if prefix.suffix in (*SUFFIXES, ".json"):
        prefix = prefix.with_suffix("")
    path = added_suffix(prefix, ".json")
    if not os.path.isfile(path):  # false, too, for what no path can be
        return _published(prefix, last_epoch)
    manifest = read_manifest(path)
    if ".pdparams" not in manifest.sha256:
        raise WeightsError(f"{path}: not the manifest of a checkpoint: sha256 lacks .pdparams")
    files = {}
    for suffix, checksum in manifest.sha256.items():
        candidates = (added_suffix(prefix, suffix), added_suffix(prefix, f".new{suffix}"))
        found = [p for p in candidates if _has_checksum(p, checksum)]
        if not found:
            raise WeightsError(f"{candidates[0]}: missing, or not the file that the run saved")
        files[str(suffix)] = found[0]
    return Checkpoint(prefix, files, manifest.epoch, manifest.step, tuple(manifest.names))


def _has_checksum(path: Path, checksum: str) -> bool:
    if not path.is_file():
        return False
    try:
        return sha256(path) == checksum
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None


def _published(prefix: Path, last_epoch: int | None) -> Checkpoint:
    """Return a PaddleClas checkpoint, which has no manifest; a ppcls checkpoint needs one.

    PaddleClas 2.0 writes no `.pdstates`, so the user has to name the epoch.
    """
    paths = {suffix: added_suffix(prefix, suffix) for suffix in SUFFIXES}
    files = {suffix: path for suffix, path in paths.items() if os.path.isfile(path)}
    if {".pdparams", ".pdopt"} <= set(files):
        if ".pdstates" not in files:
            if last_epoch is not None:
                return Checkpoint(prefix, files, last_epoch + 1, published=True)
        elif not _is_own(files[".pdstates"]):
            states = read_states(files[".pdstates"], PublishedStates)
            return Checkpoint(prefix, files, states.epoch, published=True)
    if os.path.isdir(prefix):
        inside = ", ".join(sorted(str(p.with_suffix("")) for p in prefix.glob("*.pdstates")))
        raise WeightsError(
            f"{prefix}: a folder, not a checkpoint"
            + (f"; checkpoints in it: {inside}" if inside else "")
        )
    raise WeightsError(
        f"{prefix}: no checkpoint to resume: there is no {prefix.name}.json; to use weights alone, "
        "set Global.pretrained_model"
    )


def _is_own(states: Path) -> bool:
    """Whether ppcls has written a `.pdstates`, whose manifest is then missing."""
    found = read_pickle(states)
    return isinstance(found, dict) and "progress" in found


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint of a folder with the most progress, and lines to show the user.

    Damaged checkpoints are skipped with a note.
    """
    found = []
    notes = []
    for path in [*folder.glob("*.json"), *folder.glob("*/ppcls.json")]:
        is_latest = "latest" in (path.stem, path.parent.name)
        if added_suffix(path.with_suffix(""), ".pdstates").exists() or is_latest:
            try:
                manifest = read_manifest(path)
            except WeightsError as error:
                notes.append(f"skipped: {error}")
                continue
            place = (manifest.epoch, manifest.step, is_latest)
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
