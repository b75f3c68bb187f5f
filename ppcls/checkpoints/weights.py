"""Find the weights that a configuration names, and build the model with them.

`Global.checkpoints` takes precedence over `Global.pretrained_model`, and that over
`Arch.pretrained`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint, newest_checkpoint, open_checkpoint
from ppcls.checkpoints.run_folder import run_folder
from ppcls.config import Config
from ppcls.devices import seed_everything
from ppcls.errors import ConfigError, WeightsError
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import model_card
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights, locate_weights
from ppcls.printable import say
from ppcls.spelling import did_you_mean

__all__ = [
    "build_model",
    "find_checkpoint",
    "find_weights",
    "load_trained_model",
    "start_weights",
]


def build_model(config: Config) -> ImageClassifier:
    """Build the untrained model of a configuration."""
    arch = config.Arch
    return create_model(
        arch.name,
        class_num=arch.class_num,
        in_channels=config.in_channels,
        dropout=arch.dropout,
    )


def find_checkpoint(config: Config) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint that `Global.checkpoints` names, and lines to show the user.

    `auto` is the newest checkpoint in the run's own folder, if any.

    Raises:
        WeightsError: there is no complete checkpoint of that name.
    """
    asked = config.Global.checkpoints
    if asked is None:
        return None, []
    if asked != "auto":
        try:
            return open_checkpoint(asked, config.Global.last_epoch), []
        except WeightsError as error:
            raise WeightsError(f"{error}{_closest(config, asked)}") from None
    folder = run_folder(config).path
    found, notes = newest_checkpoint(folder)
    if found is None and notes:
        raise WeightsError(
            f"Global.checkpoints: auto: all checkpoints in {folder} are damaged "
            f"({'; '.join(notes)}); leave Global.checkpoints out (`ppcls train` starts again with "
            "--overwrite)"
        )
    if found is None:
        notes.append(f"Global.checkpoints: auto: no checkpoint in {folder}: starting a new run")
    return found, notes


def _closest(config: Config, asked: str) -> str:
    """Suggest the checkpoint that was meant if no file of that name exists."""
    if any(Path(f"{asked}{suffix}").exists() for suffix in ("", ".json", ".pdparams")):
        return ""
    own = [p for p in run_folder(config).prefixes() if asked in (p.name, p.parent.name)]
    return f"; the run's own is {own[0]}" if own else did_you_mean(asked, ["auto"])


def find_weights(config: Config) -> tuple[Path | None, list[str]]:
    """Return the path of the weights that a configuration names, and lines to show the user.

    `Global.checkpoints` (the prefix of a run's files) takes precedence over
    `Global.pretrained_model` (a path or a URL), and that over `Arch.pretrained`. Published weights
    are downloaded. If several are set, a line names the chosen file.

    Raises:
        WeightsError: no published weights, file or checkpoint of that name, or the download
            failed.
    """
    checkpoint, notes = find_checkpoint(config)
    path, more = start_weights(config, checkpoint)
    return path, notes + more


def start_weights(config: Config, checkpoint: Checkpoint | None) -> tuple[Path | None, list[str]]:
    """Return the weights to use with this checkpoint, if any (see `find_weights`)."""
    options, arch = config.Global, config.Arch
    card = model_card(arch.name)
    arch_weights = "ssld" if arch.use_ssld else arch.pretrained
    named: dict[str, Any] = {
        "Global.checkpoints": checkpoint,
        "Global.pretrained_model": options.pretrained_model,
        "Arch.pretrained": arch_weights,
    }
    chosen = [key for key, value in named.items() if value not in (None, False)]
    if not chosen:
        return None, []
    if checkpoint is not None:
        path = checkpoint.files[".pdparams"]
    else:
        ours = options.pretrained_model
        path = locate_weights(card, arch_weights if ours is None else ours)
    return path, [f"{chosen[0]} wins over {key}: {path}" for key in chosen[1:]]


def load_trained_model(config: Config, command: str, allow_random: bool) -> ImageClassifier:
    """Build the model, load its weights (see `find_weights`) and put it into evaluation mode.

    Raises:
        ConfigError: no weights are named, and `allow_random` is false.
        WeightsError: the weights cannot be read or do not fit.
    """
    path, found = find_weights(config)
    notes = [*config.notes, *found]
    if path is None and not allow_random:
        raise ConfigError(
            f"`{command}` needs trained weights: -o Global.pretrained_model=PATH "
            "(or --allow-random for an untrained model)"
        )
    seed_everything(config.Global.seed)
    model = build_model(config)
    if path is not None:
        notes += [f"weights  {path}", *load_weights(model, path, strict=config.Global.strict)]
    if distributed.rank() == 0:
        for note in notes:
            say(note, sys.stderr)
    model.eval()
    return model
