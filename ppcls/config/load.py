"""Load a YAML file with `-o` overrides into a validated `Config`, or report errors by line."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ppcls.config.messages import explain
from ppcls.config.moved_run import follow_run, recorded_place
from ppcls.config.paddleclas20 import (
    FlatConfig,
    flat_name,
    is_flat,
    sectioned_origins,
    translate,
)
from ppcls.config.schema import Config
from ppcls.config.yaml_files import (
    Key,
    apply_overrides,
    dotted,
    find_config,
    holds,
    key_of,
    read_config,
)
from ppcls.data.lists import (
    IMAGENET_CLASSES,
    LABEL_LIST,
    TRAIN_LIST,
    VAL_LIST,
    are_imagenet_names,
    read_label_names,
)
from ppcls.errors import ConfigError, DataError
from ppcls.plugins import listed, load_plugins
from ppcls.spelling import names_options
from ppcls.yaml_text import to_yaml

__all__ = ["data_overrides", "dump_config", "load_config", "resolve"]

_SECTION = rf"({'|'.join(Config.model_fields)})\b"


@names_options
def load_config(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | Path | None = None,
    processes: int = 1,
) -> Config:
    """Read a configuration, in the sectioned or in the flat dialect.

    Args:
        source: a YAML file, the name of one that ppcls ships (`quick_start/HarDNet39_ds`), or an
            architecture, which means its ImageNet recipe.
        overrides: `a.b.0.c=value` each, with sectioned keys, or with the keys of a file in the flat
            dialect, which are set first. Values are YAML and never run as code. Indices select
            list entries, keys missing from the file may be set, and `a.list+=value` appends.
        data: a folder written by `split_folder` or `write_digits`; sets the keys of
            `data_overrides`, which `overrides` may replace.
        processes: how many processes train or evaluate together; they share the batch sizes of the
            flat dialect.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that the schema does not allow.
            Every problem has its own line: file and line (or the override), dotted key, the value
            found, the expected value and the closest known key.
        DataError: the folder has no label list.
    """
    if isinstance(overrides, (str, dict)):
        raise ConfigError(
            f"load_config: overrides is a list such as ['Global.epochs=3'], not {overrides!r}"
        )
    return resolve(source, overrides, data, processes)[0]


def resolve(
    source: str | Path,
    overrides: Sequence[str] = (),
    folder: str | Path | None = None,
    processes: int = 1,
) -> tuple[Config, dict[str, Any], dict[Key, str]]:
    """Return a configuration, its sectioned data, and the origin of each value.

    Raises:
        ConfigError, DataError: as `load_config`.
    """
    path = find_config(source)
    data, origins = read_config(source)
    if holds(data, ("Global", "plugins")):
        data["Global"]["plugins"] = listed(data["Global"]["plugins"])
    was = recorded_place(data, path)
    flat = is_flat(data)
    if folder is not None:
        overrides = [*data_overrides(folder, flat=flat), *overrides]
    if flat:
        own = [o for o in overrides if not re.match(_SECTION, o)]
        overrides = [o for o in overrides if re.match(_SECTION, o)]
        data, origins = apply_overrides(data, origins, own, FlatConfig)
        data, origins = _translated(data, origins, str(path), processes)
    data, origins = apply_overrides(data, origins, overrides, Config)
    notes = follow_run(data, origins, path, was) if was else []
    _load_plugins(data, origins)
    _move(data, origins, ("Global", "class_num"), _CLASS_NUM)
    _move(data, origins, ("Arch", "in_channels"), ("Global", "in_channels"))
    _reach_models(data, origins)
    _leave_out_imagenet_names(data, origins)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        name = flat_name if flat else dotted
        raise explain(error, data, origins, str(path), name=name) from None
    config._notes = tuple(notes)
    return config, data, origins


def _load_plugins(data: dict[str, Any], origins: dict[Key, str]) -> None:
    """Import the modules of `Global.plugins`, so that the schema accepts their classes."""
    section = data.get("Global")
    names = listed(section.get("plugins")) if isinstance(section, dict) else None
    for i, name in enumerate(names if isinstance(names, list) else ()):
        if isinstance(name, str):
            try:
                load_plugins([name])
            except ConfigError as error:
                key = ("Global", "plugins", i)
                at = next(origins[key[:n]] for n in (3, 2, 1) if key[:n] in origins)
                raise ConfigError(f"{at}: Global.plugins.{i}: {error}") from error


def _translated(
    data: dict[str, Any], origins: dict[Key, str], path: str, processes: int
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Translate flat data and its origins into the sectioned dialect."""
    try:
        flat = FlatConfig.model_validate(data, context={"processes": processes})
    except ValidationError as error:
        raise explain(error, data, origins, path, FlatConfig) from None
    return translate(flat, processes), sectioned_origins(origins)


_CLASS_NUM: Key = ("Arch", "class_num")


def _origin(key: Key, origins: dict[Key, str]) -> str:
    """Return where a key, or the closest key that holds it, was set."""
    return next((origins[key[:n]] for n in range(len(key), 0, -1) if key[:n] in origins), "")


def _is_override(key: Key, origins: dict[Key, str]) -> bool:
    """Whether the value of a key comes from an override, not from a file."""
    return _origin(key, origins).startswith("-o ")


def _move(data: dict[str, Any], origins: dict[Key, str], old: Key, new: Key) -> None:
    """Move an option from the section where it may also be written to its own."""
    section, key = new
    if not holds(data, old) or not isinstance(data.setdefault(str(section), {}), dict):
        return
    value, own = data[str(old[0])].pop(old[1]), data[str(section)]
    wished = [_is_override(place, origins) for place in (old, new)]
    if key not in own or wished == [True, False]:
        own[key], origins[new] = value, _origin(old, origins)
    elif own[key] != value and wished != [False, True]:
        raise ConfigError(
            f"{_origin(old, origins)}: {dotted(old)} is {value}, but {dotted(new)} is {own[key]} "
            f"({_origin(new, origins)}); set only {dotted(new)}"
        )


def _reach_models(data: dict[str, Any], origins: dict[Key, str]) -> None:
    """Let an override of Arch.class_num replace that of each model of a distillation."""
    models = data["Arch"].get("models") if isinstance(data.get("Arch"), dict) else None
    if not isinstance(models, list) or not _is_override(_CLASS_NUM, origins):
        return
    for i, entry in enumerate(models):
        for name, model in entry.items() if isinstance(entry, dict) else ():
            key = ("Arch", "models", i, name, "class_num")
            if isinstance(model, dict) and not _is_override(key, origins):
                model.pop("class_num", None)


def _leave_out_imagenet_names(data: dict[str, Any], origins: dict[Key, str]) -> None:
    """Leave out ImageNet's class names, which published recipes name, for other classes."""
    key = ("Infer", "PostProcess", "class_id_map_file")
    if not (holds(data, key) and holds(data, _CLASS_NUM)) or _is_override(key, origins):
        return
    names, classes = data["Infer"]["PostProcess"], data["Arch"]["class_num"]
    path = names["class_id_map_file"]
    if classes == IMAGENET_CLASSES or not isinstance(classes, int):
        return
    if isinstance(path, str) and are_imagenet_names(path):
        names["class_id_map_file"] = None
        warnings.warn(
            f"the recipe's class names are those of ImageNet, but Arch.class_num is {classes}: the "
            "classes are numbered; -o Infer.PostProcess.class_id_map_file=FILE names them",
            stacklevel=4,
        )


@names_options
def data_overrides(folder: str | Path, *, flat: bool = False) -> list[str]:
    """Return the overrides that make a configuration use a folder with lists.

    `split_folder` and `write_digits` write such folders. The overrides set the training and
    validation lists, the number of classes and the class names, in the sectioned or in the flat
    dialect.

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
    return [
        f"{flat_name(key_of(key)) if flat else key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    ]


def dump_config(config: Config) -> str:
    """Return a configuration, defaults included, as YAML that `load_config` reads."""
    return to_yaml(config.model_dump(exclude_none=True))
