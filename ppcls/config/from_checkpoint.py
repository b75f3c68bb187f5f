"""From what a user has, a checkpoint, a configuration or a name, to the configuration to use."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcls.config.load import load_config
from ppcls.config.schema import Config
from ppcls.config.yaml_files import find_config
from ppcls.data.lists import LABEL_LIST
from ppcls.errors import ConfigError
from ppcls.models.catalogue import list_models

__all__ = ["RUN_CONFIG", "run_config", "run_settings", "trained_config"]

RUN_CONFIG, _EXPORT = "config.yaml", "inference"


def _yaml(path: str | Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def _these_weights(path: str | Path) -> list[str]:
    """Return the overrides that name weights: they win over `Arch.pretrained`."""
    return [
        "Global.checkpoints=null",
        f"Global.pretrained_model={_yaml(path)}",
    ]


def _checkpoint(path: Path) -> Path | None:
    """Return the file of weights that a path or a prefix names, if it does."""
    if path.suffix in (".yaml", ".yml"):
        return None
    return next((p for p in (path, path.with_name(f"{path.name}.pdparams")) if p.is_file()), None)


def run_config(checkpoint: Path) -> Path:
    """Return where the configuration of a run is, or would be, given one of its checkpoints.

    Args:
        checkpoint: `output/x/HarDNet68/latest`, with or without suffix; in the layout of the flat
            dialect, where a checkpoint has a folder of its own, `…/latest/ppcls`.
    """
    beside = checkpoint.parent / RUN_CONFIG
    if checkpoint.stem == "ppcls" and not beside.is_file():
        return checkpoint.parent.parent / RUN_CONFIG
    return beside


def _make_absolute(data: dict[str, Any]) -> None:
    """Let the paths of a configuration's data, class names and runs hold in any directory."""
    places = [(data["Global"], key) for key in ("output_dir", "save_inference_dir", "vdl_dir")]
    for part in data["DataLoader"].values():
        places += [(part["dataset"], key) for key in ("image_root", "cls_label_path")]
    if "Infer" in data:
        places.append((data["Infer"]["PostProcess"], "class_id_map_file"))
    for section, key in places:
        if key in section:
            section[key] = os.path.abspath(section[key])
    data["Global"]["plugins"] = [
        os.path.abspath(os.path.expanduser(name)) if name.endswith(".py") else name
        for name in data["Global"]["plugins"]
    ]


def run_settings(config: Config) -> Config:
    """Return what a run is, without what it was started from, to be used in any directory.

    A checkpoint to resume and pretrained weights belong to one start: to evaluate or export
    the run with its own configuration must not mean those.
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
        source: a checkpoint of a run (`output/x/HarDNet68/best_model`, or its file), whose
            configuration lies beside it, where it is exported to, too (`inference`); a
            configuration, as `load_config` takes it; or the name of an architecture, which means
            its ImageNet recipe and its published weights.
        overrides: as `load_config` takes them; they are applied last.
        weights: a file of weights, a URL, or the name of a published variant, instead of those
            that the configuration names.
        allow_random: an architecture's name means untrained weights.

    Raises:
        ConfigError: no such checkpoint, configuration or architecture, a checkpoint without its
            configuration, or weights for what brings its own.
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
            f"{checkpoint} are weights already: leave out one of the two, or name a configuration "
            "or an architecture instead"
        )
    config = run_config(checkpoint)
    if not config.is_file():
        raise ConfigError(
            f"{checkpoint}: no {RUN_CONFIG} beside it, which describes it; name the "
            "configuration or the architecture, and these weights with --weights"
        )
    ours = _these_weights(checkpoint)
    ours.append(f"Global.save_inference_dir={_yaml(config.parent / _EXPORT)}")
    labels = config.parent / LABEL_LIST
    if labels.is_file():
        # The run's own copy: that which the configuration names may have moved since.
        ours.append(f"Infer.PostProcess.class_id_map_file={_yaml(labels)}")
    return load_config(config, [*ours, *overrides])
