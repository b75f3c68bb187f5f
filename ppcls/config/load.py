"""From a YAML file and `-o` overrides to a checked `Config`, or to errors that say where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ppcls.config.explain import explain
from ppcls.config.schema import Config
from ppcls.config.source import Key, find_config, holds, read_config
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST, read_label_names
from ppcls.errors import ConfigError, DataError

__all__ = ["data_overrides", "dump_config", "load_config"]


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        source: a YAML file, or the name of one that ppcls ships (`quick_start/HarDNet39_ds`).
        overrides: `a.b.0.c=value` each. Values are YAML and never run as code; list entries are
            named by index; keys that the file lacks may be set; `a.list+=value` appends.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that the schema does not allow.
            Every problem has a line of its own: file and line (or the override), dotted key, what
            was found, what is expected and the closest known key.
    """
    path = find_config(source)
    data, origins = read_config(path, overrides)
    _move_class_num(data, origins)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise explain(error, data, origins, str(path)) from None


def _move_class_num(data: dict[str, Any], origins: dict[Key, str]) -> None:
    """Put the number of classes where it belongs: older files have it in Global."""
    old, new = ("Global", "class_num"), ("Arch", "class_num")
    if not (holds(data, old) and isinstance(data.get("Arch"), dict)):
        return
    value = data["Global"].pop("class_num")
    if data["Arch"].setdefault("class_num", value) != value:
        raise ConfigError(
            f"{origins[old]}: Global.class_num is {value}, and Arch.class_num is "
            f"{data['Arch']['class_num']} ({origins[new]}); set Arch.class_num alone"
        )
    origins.setdefault(new, origins[old])


def data_overrides(folder: str | Path) -> list[str]:
    """Return the overrides that point a configuration at a folder with lists.

    The folder is one that `split_folder` or `write_digits` has written: they set the training and
    evaluation lists, the number of classes and the class names.

    Raises:
        DataError: the folder has no label list.
    """
    root = Path(folder)
    if not (root / LABEL_LIST).is_file():
        raise DataError(
            f"{root / LABEL_LIST}: no such file; `ppcls data split {root}` writes the lists of a "
            "folder with one sub-folder of images per class"
        )
    values: dict[str, object] = {
        "Arch.class_num": len(read_label_names(root / LABEL_LIST)),
        "DataLoader.Train.dataset.image_root": str(root),
        "DataLoader.Train.dataset.cls_label_path": str(root / TRAIN_LIST),
        "DataLoader.Eval.dataset.image_root": str(root),
        "DataLoader.Eval.dataset.cls_label_path": str(root / VAL_LIST),
        "Infer.PostProcess.class_id_map_file": str(root / LABEL_LIST),
    }
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def dump_config(config: Config) -> str:
    """Return a configuration, defaults included, as YAML that `load_config` reads."""
    return yaml.safe_dump(config.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True)
