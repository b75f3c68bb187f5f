"""Read YAML files with inheritance and `-o` overrides, and track the origin of each value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

import ppcls
from ppcls.config.schema_keys import default_list
from ppcls.errors import ConfigError
from ppcls.models.catalogue import ALIKE, list_families, list_models
from ppcls.options import Options
from ppcls.printable import shortened
from ppcls.spelling import closest
from ppcls.yaml_text import YamlError, load_yaml, read_text

__all__ = [
    "Key",
    "apply_overrides",
    "dotted",
    "find_config",
    "holds",
    "key_of",
    "parse_yaml",
    "read_config",
]

Key = tuple[str | int, ...]
"""A place in a configuration: names of keys and indices of lists."""


def dotted(key: Key) -> str:
    """Return the dotted name of a place: `Loss.Train.0`."""
    return ".".join(map(str, key))


def key_of(name: str) -> Key:
    """Return the place of a dotted name."""
    return tuple(int(part) if part.isdecimal() else part for part in name.split("."))


def _unshared(data: Any) -> Any:
    """Copy plain data so that values shared through a YAML alias become independent."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_unshared(value) for value in data]
    return data


def parse_yaml(text: str, at: Callable[[int], str]) -> tuple[Any, dict[Key, str]]:
    """Return the data of a YAML text, and where each of its keys is.

    Args:
        text: the YAML.
        at: turns a line number into a location for the user.

    Raises:
        ConfigError: not YAML, a duplicate key, or out of the bounds of `load_yaml`.
    """
    origins: dict[Key, str] = {}

    def note_origins(node: yaml.Node, key: Key) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                place = (*key, name.value)
                origins[place] = at(name.start_mark.line + 1)
                note_origins(value, place)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                place = (*key, i)
                origins[place] = at(value.start_mark.line + 1)
                note_origins(value, place)

    try:
        data, node = load_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{at(error.line)}: {error}") from None
    if node is not None:
        note_origins(node, ())
    return _unshared(data), origins


def _root() -> Path:
    """Return the folder of the configurations that ppcls ships."""
    package = Path(ppcls.__file__).parent
    # An installed package contains them; a checkout has them beside the package.
    return next(p for p in (package / "configs", package.parent / "configs") if p.is_dir())


def _shipped() -> dict[str, Path]:
    """Return the configurations that ppcls ships, by their path without suffix."""
    return {
        file.relative_to(_root()).with_suffix("").as_posix(): file
        for file in sorted(_root().rglob("*.yaml"))
        if "_base_" not in file.parts
    }


def _common_recipe() -> Path:
    """Return the recipe file of architectures without their own."""
    return _root() / "_base_" / "ImageNet.yaml"


def find_config(source: str | Path) -> Path:
    """Return the file that `-c` names.

    The name is a path, a path under the configs that ppcls ships, or an architecture. An
    architecture without a recipe gets the common one, to which `read_config` adds its name.

    Raises:
        ConfigError: there is no such file; the message has the closest name.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    try:
        return _find_shipped(source)
    except ConfigError:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder; expected a YAML file") from None
        raise


def _shipped_name(source: str | Path) -> str:
    # PaddleClas's commands name ppcls/configs/… and ./configs/… from its root, from a folder inside
    # it, or from the folder that holds it.
    path = Path(source).as_posix()
    return re.sub(r"^(\.\./)*(PaddleClas/)?(ppcls/)?configs/", "", path).removesuffix(".yaml")


def _find_shipped(source: str | Path) -> Path:
    name = _shipped_name(source)
    shipped = _shipped()
    if name in shipped:
        return shipped[name]
    # A bare name means an ImageNet recipe.
    for full, file in shipped.items():
        if full.startswith("ImageNet/") and full.rpartition("/")[2] == name:
            return file
    if name in list_models():
        return _common_recipe()
    last = name.rpartition("/")[2]
    alike = closest(last, [full.rpartition("/")[2] for full in shipped] + list_models(), ALIKE)
    if alike is None:
        families = ", ".join(list_families())
        hint = f"shipped ones are in configs/, such as HarDNet68, for the families {families}"
    else:
        inside = [full for full in shipped if full.rpartition("/")[2] == alike]
        path = closest(name, inside, 0) if "/" in name or last == alike else None
        hint = f"did you mean {path or alike!r}?"
    raise ConfigError(f"no such config file: {source}; {hint}")


def _read_found(
    source: str | Path, found: Path, children: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Do what `_read_file` does for the file of a source, and set its architecture."""
    data, origins = _read_file(found, children)
    name = _shipped_name(source)
    if found == _common_recipe() and name in list_models():
        data["Arch"]["name"] = name
        origins["Arch", "name"] = f"the recipe of {name}"
    return data, origins


def _read_file(
    path: Path, children: tuple[Path, ...] = ()
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Return the data of a file merged onto its `_base_` files, with the origin of each value.

    Maps are merged key by key; all other values, including lists, are replaced. `_delete_: true`
    in a map replaces the inherited map.
    """
    if path.resolve() in children:
        raise ConfigError(f"{children[-1]}: _base_ leads back to {path}")
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}") from None
    except YamlError as error:
        raise ConfigError(f"{path}:{error.line}: the config file is {error}") from None
    data, origins = parse_yaml(text, lambda line: f"{path}:{line}")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections such as Global and Arch, found {data!r:.60}")
    bases = data.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(
            f"{origins[('_base_',)]}: _base_: expected a path or name, or a list of them"
        )
    merged: dict[str, Any] = {}
    merged_origins: dict[Key, str] = {}
    for base in bases:
        beside = Path(os.path.normpath(path.parent / base))
        try:
            found = beside if beside.is_file() else _find_shipped(base)
        except ConfigError as error:
            where = origins[("_base_",)]
            raise ConfigError(f"{where}: _base_: {error} (and no file {beside})") from None
        inherited, inherited_origins = _read_found(base, found, (*children, path.resolve()))
        merged = _merge(merged, inherited)
        merged_origins |= inherited_origins
    merged = _merge(merged, data)
    merged_origins |= origins
    return merged, {key: at for key, at in merged_origins.items() if holds(merged, key)}


def _merge(base: Any, data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    base = base if isinstance(base, dict) and not data.get("_delete_") else {}
    own = {key: _merge(base.get(key), value) for key, value in data.items() if key != "_delete_"}
    return base | own


def holds(data: Any, key: Key) -> bool:
    """Whether plain data has something at a place."""
    for part in key:
        inside = isinstance(data, dict) and part in data
        if not inside and not (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            return False
        data = data[part]
    return True


def _given(override: str) -> str:
    """Return the origin of what an override sets."""
    return f"-o {shortened(override, 400)}"


def _apply_override(data: dict[str, Any], override: str, root: type[Options] | None) -> Key:
    """Apply `a.b.0.c=value` (set) or `a.b+=value` (append) and return the key.

    Missing maps on the way are created; default lists of the schema `root` are written out.
    """
    where = _given(override)
    name, found, text = override.partition("=")
    append = name.endswith("+")
    parts = name.removesuffix("+").strip().split(".")
    if not found or not all(parts):
        raise ConfigError(f"{where}: expected KEY=VALUE, such as Global.epochs=10")
    value, _ = parse_yaml(text, lambda line: where)
    target: Any = data
    key: Key = ()
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(target, list) and not target:
            name = dotted(key)
            raise ConfigError(f"{where}: {name} is an empty list; -o {name}+=VALUE appends")
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise ConfigError(
                    f"{where}: {dotted(key)} is a list of {len(target)}; "
                    f"expected an index from 0 to {len(target) - 1}, not {part!r}"
                )
            index: str | int = int(part)
        elif isinstance(target, dict):
            index = part
            if target.get(part) is None and (append or not last):
                default = default_list((*key, part), root) if root else None
                if default is not None:
                    target[part] = [] if part in target else default
                elif not last:
                    target[part] = {}
        else:
            raise ConfigError(f"{where}: {dotted(key)} is {target!r}, which has no keys")
        key = (*key, index)
        if last and append:
            entries = target.get(part) if isinstance(target, dict) else target[index]
            if not isinstance(entries, list):
                raise ConfigError(f"{where}: {'.'.join(parts)} is {entries!r}, not a list")
            entries.append(value)
            key = (*key, len(entries) - 1)
        elif last:
            target[index] = value
        else:
            target = target[index]
    return key


def read_config(
    source: str | Path, overrides: Sequence[str] = (), root: type[Options] | None = None
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Return the data of a configuration with overrides, and the origin of each value.

    Args:
        source: a name for `find_config`. `_base_` in a file names the files it inherits from:
            paths relative to it, or names for `find_config`.
        overrides: `a.b.0.c=value` sets a value, `a.list+=value` appends to a list.
        root: the schema, whose default lists the overrides may change.

    Raises:
        ConfigError: a file is missing or not YAML, or an override names no place.
    """
    return apply_overrides(*_read_found(source, find_config(source)), overrides, root)


def apply_overrides(
    data: dict[str, Any],
    origins: dict[Key, str],
    overrides: Sequence[str],
    root: type[Options] | None = None,
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Do what `read_config` does for a file already read, and change its data in place.

    Raises:
        ConfigError: an override names no place.
    """
    for override in overrides:
        key = _apply_override(data, override, root)
        origins = {k: v for k, v in origins.items() if k[: len(key)] != key}
        origins[key] = _given(override)
        for end in range(1, len(key)):
            origins.setdefault(key[:end], origins[key])
    return data, origins
