"""A run's folder: who may write to it, and what is there already."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ppcls.config import Config, dump_config
from ppcls.data.lists import LABEL_LIST
from ppcls.errors import ConfigError, RunError
from ppcls.files import replacing

__all__ = ["claim_folder", "locked", "run_folder"]


def run_folder(config: Config) -> Path:
    """Return the folder that a run of this configuration writes to: `output_dir/<Arch>`."""
    return Path(config.Global.output_dir) / config.Arch.name


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder for as long as the context lasts.

    The lock is the process's own: the system drops it when the process ends, however it ends, and
    child processes do not inherit it.

    Raises:
        RunError: another run holds it, or the folder cannot be written.
    """
    path = folder / ".lock"
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
        # What a killed run was writing, and nobody else is now.
        for rest in folder.glob(".*.tmp"):
            rest.unlink(missing_ok=True)
        yield


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['host']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "it has just begun"


def claim_folder(folder: Path, config: Config, labels: Sequence[str], overwrite: bool) -> None:
    """Prepare the folder of a new run: its configuration, and no results of an earlier run.

    The class names are copied there and the written configuration names the copy: weights and
    names stay together, whatever becomes of the data set.

    Raises:
        ConfigError: an earlier run is there and may not be overwritten.
        RunError: the folder cannot be written.
    """
    names = ("config.yaml", "train.log", "metrics.jsonl", "*.pd*")
    earlier = [path for name in names for path in folder.glob(name)]
    if earlier and not overwrite:
        raise ConfigError(
            f"{folder} holds an earlier run ({earlier[0].name}); choose another folder "
            "(-o Global.output_dir=DIR), go on with it (-o Global.checkpoints=auto) or add "
            "--overwrite"
        )
    if config.Infer:
        with replacing(folder / LABEL_LIST) as file:
            lines = [f"{label} {name}\n" for label, name in enumerate(labels)]
            file.write_text("".join(lines), encoding="utf-8")
        post = config.Infer.PostProcess.model_copy(
            update={"class_id_map_file": str(folder / LABEL_LIST)}
        )
        infer = config.Infer.model_copy(update={"PostProcess": post})
        config = config.model_copy(update={"Infer": infer})
    with replacing(folder / "config.yaml") as file:
        file.write_text(dump_config(config), encoding="utf-8")
    for path in folder.glob("*.pd*"):
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
