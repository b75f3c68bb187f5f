"""Resuming a run: what has changed since it was last started, and whether anything is left."""

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

# A run's own class names are a copy of those given; they are compared by what they are.
_COPIED = "Infer.PostProcess.class_id_map_file"


def changed_settings(
    config: Config, labels: Sequence[str], device: str, checkpoint: Checkpoint
) -> list[str]:
    """Say which settings differ from those that the run of a checkpoint was last started with.

    They are known where the run's `config.yaml` lies beside the checkpoint.

    Args:
        config: the one to go on with.
        labels: its class names.
        device: what it came to.
        checkpoint: where the run stands.

    Raises:
        WeightsError: the checkpoint is of another architecture or number of classes.
        DataError: it knows its classes by other names, or in another order.
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
            f"{checkpoint.prefix}: a checkpoint of {was.name} with {was.class_num} classes, and "
            f"Arch is {now.name} with {now.class_num}; go on with it by -c {path}"
        )
    anew = (
        "; a run goes on with its own classes. Begin another one from these weights: "
        f"-o Global.checkpoints=null Global.pretrained_model={checkpoint.prefix}"
    )
    if was.class_num != now.class_num:
        raise WeightsError(
            f"{checkpoint.prefix}: the checkpoint knows {was.class_num} classes, and the "
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
    changed += changed_machine(path.parent, device, distributed.world_size())
    return [f"changed since the run was last started: {line}" for line in changed]


def _named_classes(file: Path, labels: Sequence[str], anew: str) -> list[str]:
    """Say that classes have names that had none; refuse those that had others."""
    known = class_names(file, len(labels))
    if known == list(labels):
        return []
    if known == class_names(None, len(labels)):
        return [f"the class names, which were the numbers of {file}"]
    i = next(i for i, name in enumerate(known) if name != labels[i])
    raise DataError(
        f"{file}: class {i} of the checkpoint is {known[i]!r}, and of the configuration and its "
        f"data {labels[i]!r}{anew} (a class that only has a new name gets it in that file)"
    )


def is_finished(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether nothing is left to do of the run that `Global.checkpoints=auto` has found.

    Raises:
        ConfigError: it has more epochs than are asked for, or was named to go on with.
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
        found = f"this run has {checkpoint.epoch} epochs{step} already, of {epochs}"
    raise ConfigError(
        f"{checkpoint.prefix}: {found}; raise Global.epochs to go on, or leave "
        "Global.checkpoints out and add --overwrite to start again"
    )


def _is_complete(config: Config, checkpoint: Checkpoint) -> bool:
    """Whether all is there that a run leaves after its last epoch.

    One that was killed there may lack other names of its last state, or the picture of its curves.
    """
    folder = run_folder(config)
    if not folder.holds(checkpoint.prefix):
        return True
    named = all(has_name(checkpoint, folder.checkpoint(name)) for name in checkpoint.names)
    return named and (folder.path / "curves.png").exists()
