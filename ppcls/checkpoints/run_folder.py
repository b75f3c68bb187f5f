"""A run's folder: its checkpoints, its lock, and the protection of earlier runs."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ppcls.checkpoints.files import remove_checkpoint
from ppcls.config import Config, dump_config
from ppcls.config.from_checkpoint import RUN_CONFIG, run_settings
from ppcls.data.lists import LABEL_LIST
from ppcls.errors import ConfigError, RunError
from ppcls.files import replacing

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
        files = [*self.path.glob("*.pd*"), *self.path.glob("*/ppcls.pd*")]
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

    Raises:
        RunError: another run holds the lock, or the folder cannot be written.
    """
    path = folder / ".lock"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RunError(
                f"{folder}: another run is writing here ({_owner(file.read())}); wait for it, or "
                "choose another folder (-o Global.output_dir=DIR)"
            ) from None
        owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}",
        }
        try:
            file.truncate(0)
            file.write(json.dumps(owner))
            file.flush()
        except OSError as error:
            raise RunError(f"{path}: cannot write: {error.strerror or error}") from None
        # Partial files of a killed run; no other run is writing now.
        for rest in folder.glob(".*.tmp"):
            rest.unlink(missing_ok=True)
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


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['host']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "it has just started"


def claim_folder(run: RunFolder, config: Config, labels: Sequence[str], overwrite: bool) -> None:
    """Prepare the folder of a new run: remove an earlier run, and write the configuration.

    Raises:
        ConfigError: the folder holds an earlier run and `overwrite` is false.
        RunError: the folder cannot be written.
    """
    folder, prefixes = run.path, run.prefixes()
    names = (RUN_CONFIG, "train.log", "metrics.jsonl")
    earlier = [folder / name for name in names if (folder / name).exists()] + prefixes
    if earlier and not overwrite:
        found = earlier[0].relative_to(folder)
        raise ConfigError(
            f"{folder} holds an earlier run ({found}); choose another folder "
            "(-o Global.output_dir=DIR), resume it (-o Global.checkpoints=auto) or add "
            "--overwrite"
        )
    describe_run(folder, config, labels)
    for prefix in prefixes:
        remove_checkpoint(prefix)


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
