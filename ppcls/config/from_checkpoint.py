"""Find the configuration of a trained model: from a checkpoint, a configuration or a name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcls.config.load import load_config
from ppcls.config.moved_run import RUN_CONFIG, path_keys
from ppcls.config.schema import Config
from ppcls.config.yaml_files import find_config
from ppcls.data.lists import LABEL_LIST
from ppcls.errors import ConfigError
from ppcls.files import added_suffix
from ppcls.models.catalogue import list_models

__all__ = ["RUN_CONFIG", "run_config", "run_settings", "trained_config"]

_EXPORT = "inference"


def _yaml(path: str | Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _these_weights(path: str | Path) -> list[str]:
    """Return the overrides that name weights; they take precedence over `Arch.pretrained`."""
    return [
        "Global.checkpoints=null",
        f"Global.pretrained_model={_yaml(path)}",
    ]


def _checkpoint(path: Path) -> Path | None:
    """Return the weights file that a path or a prefix names, if any."""
    if path.suffix in (".yaml", ".yml"):
        return None
    return next((p for p in (path, added_suffix(path, ".pdparams")) if os.path.isfile(p)), None)


def run_config(checkpoint: Path) -> Path:
    """Return the path of a run's configuration, which may not exist, from one of its checkpoints.

    Args:
        checkpoint: `output/x/HarDNet68/latest`, with or without suffix; in the flat layout, with
            a folder for each checkpoint, `…/latest/ppcls`.
    """
    beside = checkpoint.parent / RUN_CONFIG
    if checkpoint.stem == "ppcls" and not beside.is_file():
        return checkpoint.parent.parent / RUN_CONFIG
    return beside


def _make_absolute(data: dict[str, Any]) -> None:
    """Make the paths of a configuration's data, class names and runs absolute."""
    for section, key in path_keys(data):
        section[key] = os.path.abspath(section[key])
    data["Global"]["plugins"] = [
        os.path.abspath(os.path.expanduser(name)) if name.endswith(".py") else name
        for name in data["Global"]["plugins"]
    ]


def run_settings(config: Config) -> Config:
    """Return the settings that describe a run, without its start weights, with absolute paths.

    A checkpoint to resume and pretrained weights belong to one start of the run. Evaluating or
    exporting with the run's configuration must not load them.
    """
    data = config.model_dump(exclude_none=True)
    _make_absolute(data)
    for key in ("checkpoints", "last_epoch", "pretrained_model"):
        data["Global"].pop(key, None)
    arch = data["Arch"]
    for part in (arch, *(model for entry in arch.get("models", ()) for model in entry.values())):
        for key in ("pretrained", "use_ssld", "pretrained_list"):
            part.pop(key, None)
    return Config.model_validate(data)


def trained_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    weights: str | Path | None = None,
    allow_random: bool = False,
) -> Config:
    """Return the configuration of a trained model.

    Args:
        source: a checkpoint of a run (`output/x/HarDNet68/best_model`, or its file), with its
            configuration beside it and the export folder `inference` beside both; a
            configuration, as for `load_config`; or the name of an architecture, for its ImageNet
            recipe and its published weights.
        overrides: as for `load_config`; applied last.
        weights: a weights file, a URL, or the name of a published variant, instead of the weights
            that the configuration names.
        allow_random: use untrained weights for the name of an architecture.

    Raises:
        ConfigError: no such checkpoint, configuration or architecture; a checkpoint without its
            configuration; or both a checkpoint and `weights`.
    """
    path = Path(source).expanduser()
    ours = _these_weights(weights) if weights is not None else []
    if str(source) in list_models():
        if not ours and not allow_random:
            ours = ["Arch.pretrained=true"]
        return load_config(source, [*ours, *overrides])
    checkpoint = _checkpoint(path)
    if checkpoint is None:
        if path.is_dir():
            inside = ", ".join(str(p.with_suffix("")) for p in sorted(path.glob("*.pdparams")))
            hint = f"; checkpoints in it: {inside}" if inside else ""
            raise ConfigError(f"{path} is a folder, not a checkpoint{hint}")
        try:
            find_config(source)
        except ConfigError as error:
            raise ConfigError(f"neither a checkpoint nor an architecture, and {error}") from None
        return load_config(source, [*ours, *overrides])
    if weights is not None:
        raise ConfigError(
            f"{checkpoint} is itself a weights file: leave one of the two out, or name a "
            "configuration or an architecture instead"
        )
    config = run_config(checkpoint)
    if not config.is_file():
        raise ConfigError(
            f"{checkpoint}: no {RUN_CONFIG} beside it that describes it; name the "
            "configuration or the architecture, and these weights with --weights"
        )
    ours = _these_weights(checkpoint)
    ours.append(f"Global.save_inference_dir={_yaml(config.parent / _EXPORT)}")
    labels = config.parent / LABEL_LIST
    if labels.is_file():
        # The run's own copy; the file that the configuration names may have moved.
        ours.append(f"Infer.PostProcess.class_id_map_file={_yaml(labels)}")
    return load_config(config, [*ours, *overrides])
