"""A run's folder: its checkpoints, its lock, and the protection of earlier runs."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TextIO

from ppcls.checkpoints.files import finish_writing, remove_checkpoint
from ppcls.checkpoints.records import Owner, record_of
from ppcls.config import Config, dump_config
from ppcls.config.from_checkpoint import RUN_CONFIG, run_settings
from ppcls.data.lists import LABEL_LIST
from ppcls.errors import ConfigError, RunError
from ppcls.files import open_plain, replacing

__all__ = ["RunFolder", "claim_folder", "describe_run", "locked", "run_folder"]


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run and the names of its checkpoints.

    The files of `best_model` are `best_model.pdparams` … in the sectioned layout, and
    `best_model/ppcls.pdparams` … in the flat one. The flat layout calls `epoch_1` `0/ppcls`.
    """

    path: Path
    layout: Literal["sectioned", "flat"] = "sectioned"

    def checkpoint(self, name: str) -> Path:
        """Return the path without suffix of the checkpoint `latest`, `best_model` or `epoch_N`."""
        if self.layout == "sectioned":
            return self.path / name
        epoch = name.removeprefix("epoch_")
        return self.path / (name if epoch == name else str(int(epoch) - 1)) / "ppcls"

    def kept_epochs(self) -> list[int]:
        """Return the N of all existing checkpoints `epoch_N`, in order."""
        if self.layout == "sectioned":
            found = [p.stem.removeprefix("epoch_") for p in self.path.glob("epoch_*.pdparams")]
            return sorted(int(n) for n in found if n.isdecimal())
        folders = [p.parent.name for p in self.path.glob("*/ppcls.pdparams")]
        return sorted(int(n) + 1 for n in folders if n.isdecimal())

    def holds(self, prefix: Path) -> bool:
        """Whether a checkpoint is in this folder."""
        folder = self.path.resolve()
        return folder in (prefix.resolve().parent, prefix.resolve().parent.parent)

    def prefixes(self) -> list[Path]:
        """Return the paths without suffix of all checkpoints in the folder, in either layout."""
        return _prefixes(self.path)


def _prefixes(folder: Path) -> list[Path]:
    inside = [file for file in folder.glob("*/ppcls.*pd*") if not file.parent.is_symlink()]
    files = [*folder.glob("*.pd*"), *inside]
    return sorted({file.with_name(file.name.split(".")[0]) for file in files})


def run_folder(config: Config) -> RunFolder:
    """Return the output folder of a configuration's run: `output_dir/<Arch>`."""
    path = Path(config.Global.output_dir) / config.Arch.name
    return RunFolder(path, config.Global.checkpoint_layout)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs within the context.

    The lock belongs to the process: the system releases it when the process ends for any reason,
    and child processes do not inherit it.

    Before that, it removes the partial files of a killed run, and finishes a checkpoint that was
    being moved to its place.

    Raises:
        RunError: another run holds the lock, the folder cannot be written, or something in it is a
            link that leads out of it.
    """
    path = folder / ".lock"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _open_lock(path)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            owner = _describe_owner(file.read(4096))
            raise RunError(
                f"{folder}: another run is writing here ({owner}); wait for it, or "
                "choose another folder (-o Global.output_dir=DIR)"
            ) from None
        since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        holder = Owner(process=os.getpid(), host=socket.gethostname()[:253], since=since)
        try:
            file.truncate(0)
            file.write(holder.model_dump_json())
            file.flush()
            _refuse_linked_folders(folder)
            _clean(folder)
        except OSError as error:
            raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
        try:
            yield
        except BaseException:
            if is_new:
                _remove_if_empty(folder, path)
            raise


def _remove_if_empty(folder: Path, lock: Path) -> None:
    """Remove the folder of a run that failed before it wrote anything."""
    with suppress(OSError):
        if list(folder.iterdir()) == [lock]:
            lock.unlink()
            folder.rmdir()


def _open_lock(path: Path) -> TextIO:
    descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "it has another name, too (a hard link); remove it")
    return os.fdopen(descriptor, "a+", encoding="utf-8", errors="replace")


def _refuse_linked_folders(folder: Path) -> None:
    """Refuse sub-folders that a run writes to and that lead out of its folder."""
    for path in folder.iterdir():
        if re.fullmatch(r"latest|best_model|vdl|[0-9]+", path.name) and path.is_symlink():
            raise RunError(
                f"{path}: a symbolic link, and a run writes only into its own folder; remove the "
                "link (Global.vdl_dir names another folder for VisualDL)"
            )


def _clean(folder: Path) -> None:
    """Remove what a killed run has left half written; no other run is writing now."""
    inside = [rest for rest in folder.glob("*/.ppcls.*.tmp") if not rest.parent.is_symlink()]
    for rest in [*folder.glob(".*.tmp"), *inside]:
        if rest.is_symlink() or rest.is_file():
            rest.unlink()
    for prefix in _prefixes(folder):
        if prefix.parent != folder or re.fullmatch(r"latest|best_model|epoch_[0-9]+", prefix.name):
            finish_writing(prefix)


def _describe_owner(text: str) -> str:
    try:
        owner = record_of(Owner, text)
    except ValueError:
        return "it has just started"
    return f"process {owner.process} on {owner.host}, since {owner.since}"


def claim_folder(run: RunFolder, config: Config, labels: Sequence[str], overwrite: bool) -> None:
    """Prepare the folder of a new run: remove an earlier run, and write the configuration.

    `Global.checkpoints=auto` begins again where an earlier run has left no checkpoint.

    Raises:
        ConfigError: the folder holds an earlier run and `overwrite` is false.
        RunError: the folder cannot be written.
    """
    folder, prefixes = run.path, run.prefixes()
    names = (RUN_CONFIG, "train.log", "metrics.jsonl")
    earlier = [folder / name for name in names if (folder / name).exists()] + prefixes
    is_auto = config.Global.checkpoints == "auto"
    if is_auto and prefixes and not overwrite:
        raise ConfigError(
            f"{folder} holds {prefixes[0].relative_to(folder)}, without a manifest of ppcls that "
            "Global.checkpoints=auto could resume from; name a checkpoint of PaddleClas by its "
            "path (-o Global.checkpoints=PATH), choose another folder "
            "(-o Global.output_dir=DIR), or begin again with --overwrite and "
            "Global.checkpoints=null"
        )
    if earlier and not overwrite and not is_auto:
        found = earlier[0].relative_to(folder)
        raise ConfigError(
            f"{folder} holds an earlier run ({found}); choose another folder "
            "(-o Global.output_dir=DIR), resume it (-o Global.checkpoints=auto) or add "
            "--overwrite"
        )
    try:
        # First, so that a kill never leaves them beside the configuration of another run.
        for prefix in prefixes:
            remove_checkpoint(prefix)
        for name in ("curves.png", "classes.csv"):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {error.strerror or error}") from None
    describe_run(folder, config, labels)


def describe_run(folder: Path, config: Config, labels: Sequence[str]) -> None:
    """Write the description of a run: `config.yaml` (see `run_settings`) and its class names.

    The class names are copied to the folder and the written configuration names the copy, so
    weights and names stay together if the data set changes.

    Raises:
        RunError: the folder cannot be written.
    """
    if config.Infer:
        with replacing(folder / LABEL_LIST) as file:
            lines = [f"{label} {name}\n" for label, name in enumerate(labels)]
            file.write_text("".join(lines), encoding="utf-8")
        post = config.Infer.PostProcess.model_copy(
            update={"class_id_map_file": str(folder / LABEL_LIST)}
        )
        infer = config.Infer.model_copy(update={"PostProcess": post})
        config = config.model_copy(update={"Infer": infer})
    with replacing(folder / RUN_CONFIG) as file:
        file.write_text(dump_config(run_settings(config)), encoding="utf-8")
