"""Resuming a run: what has changed since its last start, and whether it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint, has_name
from ppcls.checkpoints.run_folder import run_folder
from ppcls.config import Config, load_config
from ppcls.config.from_checkpoint import run_config, run_settings
from ppcls.config.printing import diff_configs
from ppcls.data.lists import LABEL_LIST, class_names
from ppcls.errors import ConfigError, DataError, WeightsError
from ppcls.training.provenance import changed_machine

__all__ = ["changed_settings", "is_finished"]

# The run's folder holds a copy of the class names, so their path differs; compare their content.
_COPIED = "Infer.PostProcess.class_id_map_file"


def changed_settings(
    config: Config, labels: Sequence[str], device: str, checkpoint: Checkpoint
) -> list[str]:
    """Return the settings that differ from the last start of a checkpoint's run, a line for each.

    The last start is read from the run's `config.yaml`; without that file nothing is compared.

    Args:
        config: the configuration to resume with.
        labels: its class names.
        device: the kind of device in use.
        checkpoint: the checkpoint to resume from.

    Raises:
        WeightsError: the checkpoint has another architecture or number of classes.
        DataError: the checkpoint has other class names, or another order.
    """
    path = run_config(checkpoint.prefix)
    if not path.is_file():
        return []
    try:
        begun = load_config(path)
    except ConfigError as error:
        return [f"not compared with the run's last start: {str(error).splitlines()[0]}"]
    was, now = begun.Arch, config.Arch
    if was.name != now.name:
        raise WeightsError(
            f"{checkpoint.prefix}: a checkpoint of {was.name} with {was.class_num} classes, but "
            f"Arch is {now.name} with {now.class_num}; resume it with -c {path}"
        )
    anew = (
        "; a run keeps its classes. To start a new run from these weights, use "
        f"-o Global.checkpoints=null Global.pretrained_model={checkpoint.prefix}"
    )
    if was.class_num != now.class_num:
        raise WeightsError(
            f"{checkpoint.prefix}: the checkpoint has {was.class_num} classes, but the "
            f"configuration and its data have {now.class_num}{anew}"
        )
    changed = [
        line.replace(": ", " ", 1)
        for line in diff_configs(run_settings(begun), run_settings(config))
        if not line.startswith(_COPIED)
    ]
    names = path.with_name(LABEL_LIST)
    if names.is_file():
        changed += _named_classes(names, labels, anew)
    changed += changed_machine(path.parent, device, distributed.world_size(), config.Global.plugins)
    return [f"changed since the run was last started: {line}" for line in changed]


def _named_classes(file: Path, labels: Sequence[str], anew: str) -> list[str]:
    """Report new names of unnamed classes; refuse changed names."""
    known = class_names(file, len(labels))
    if known == list(labels):
        return []
    if known == class_names(None, len(labels)):
        return [f"the class names, which were the numbers of {file}"]
    i = next(i for i, name in enumerate(known) if name != labels[i])
    raise DataError(
        f"{file}: class {i} is {known[i]!r} in the checkpoint, but {labels[i]!r} in the "
        f"configuration and its data{anew} (to rename a class, edit that file)"
    )


def is_finished(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether the run that `Global.checkpoints=auto` has found is finished.

    Raises:
        ConfigError: the run has more epochs than requested, or is finished and was named by path.
    """
    epochs, reached = config.Global.epochs, (checkpoint.epoch, checkpoint.step)
    if reached < (epochs, 0) or (reached == (epochs, 0) and not _is_complete(config, checkpoint)):
        return False
    if reached == (epochs, 0) and config.Global.checkpoints == "auto":
        return True
    if reached == (epochs, 0):
        found = f"this run is finished ({epochs} of {epochs} epochs)"
    else:
        step = f" and {checkpoint.step} steps of the next" if checkpoint.step else ""
        found = f"this run has already trained {checkpoint.epoch} epochs{step}, of {epochs}"
    raise ConfigError(
        f"{checkpoint.prefix}: {found}; raise Global.epochs to resume it, or leave "
        "Global.checkpoints out and add --overwrite to start again"
    )


def _is_complete(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether the folder has every file that a run leaves after its last epoch.

    A run killed at that point may lack copies of its last checkpoint, or the plot of its curves.
    """
    folder = run_folder(config)
    if not folder.holds(checkpoint.prefix):
        return True
    named = all(has_name(checkpoint, folder.checkpoint(name)) for name in checkpoint.names)
    return named and (folder.path / "curves.png").exists()
