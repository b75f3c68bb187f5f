"""Resuming a run: what has changed since its last start, and whether it is finished."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint, has_name
from ppcls.checkpoints.records import Progress, SamplesRecord
from ppcls.checkpoints.run_folder import run_folder
from ppcls.config import Config, load_config
from ppcls.config.from_checkpoint import run_config, run_settings
from ppcls.config.printing import diff_configs
from ppcls.data.lists import LABEL_LIST, Sample, class_names
from ppcls.errors import ConfigError, DataError, WeightsError
from ppcls.training.provenance import changed_machine

__all__ = ["changed_samples", "changed_settings", "check_place", "is_finished", "record_samples"]

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


def record_samples(samples: Sequence[Sample], root: str) -> SamplesRecord:
    """Return a record of the samples of a data set, their paths relative to its `image_root`."""
    digest = hashlib.sha256()
    for path, label in samples:
        line = f"{path.removeprefix(root)}\0{label}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return SamplesRecord(count=len(samples), sha256=digest.hexdigest())


def changed_samples(
    known: Mapping[str, SamplesRecord],
    now: Mapping[str, SamplesRecord],
    checkpoint: Checkpoint,
) -> list[str]:
    """Return the data sets whose images or labels differ from those of a checkpoint.

    Args:
        known: the data sets that the checkpoint was trained with.
        now: those of the resumed run.
        checkpoint: the checkpoint.

    Raises:
        DataError: the checkpoint is within an epoch of another number of images, so that its place
            in their order means nothing.
    """
    changed = []
    for part, record in now.items():
        if part not in known or known[part] == record:
            continue
        was = known[part].count
        numbers = f"{was} images" if was == record.count else f"{was} images, now {record.count}"
        changed.append(f"the images or labels of DataLoader.{part} ({numbers})")
        if part == "Train" and checkpoint.step and was != record.count:
            raise DataError(
                f"{checkpoint.prefix}: at step {checkpoint.step} of an epoch of {was} images, but "
                f"DataLoader.Train has {record.count} now; restore its list, or resume from the "
                f"end of an epoch (-o Global.checkpoints={checkpoint.prefix.parent}/epoch_N)"
            )
    return [f"changed since the checkpoint was saved: {line}" for line in changed]


def check_place(
    progress: Progress, checkpoint: Checkpoint, steps: int, metrics: Sequence[str]
) -> None:
    """Check that the place of a checkpoint exists in the run.

    Args:
        progress: the progress of the checkpoint.
        checkpoint: the checkpoint.
        steps: updates an epoch.
        metrics: the names of the metrics of training.

    Raises:
        WeightsError: the step is beyond the epoch, or the epoch has sums of other metrics.
    """
    path = checkpoint.files.get(".pdstates", checkpoint.prefix)
    epoch_end = (
        "resume with the data, batch size and number of processes of the run, or from the end of "
        f"an epoch (-o Global.checkpoints={checkpoint.prefix.parent}/epoch_N)"
    )
    if progress.step > steps:
        raise WeightsError(
            f"{path}: progress.step is {progress.step}, but an epoch has {steps} updates; "
            f"{epoch_end}"
        )
    if progress.totals and len(progress.totals.sums) != 1 + len(metrics):
        names = ", ".join(("loss", *metrics))
        raise WeightsError(
            f"{path}: progress.totals.sums has {len(progress.totals.sums)} numbers, but the run "
            f"sums {1 + len(metrics)} ({names}): Metric.Train has changed within an epoch; "
            f"{epoch_end}"
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
