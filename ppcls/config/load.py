"""From a YAML file and `-o` overrides to a checked `Config`, or to errors that say where."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

import ppcls
from ppcls.config.schema import Config
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST, read_label_names
from ppcls.errors import ConfigError, DataError, did_you_mean
from ppcls.options import OneKey, Options

__all__ = ["data_overrides", "dump_config", "load_config"]

Key = tuple[str | int, ...]


class _YamlLoader(yaml.SafeLoader):
    """Plain data only, with YAML 1.2's numbers and booleans: `1e-4` is a number, `no` a string."""

    yaml_implicit_resolvers = {
        first: [(tag, r) for tag, r in resolvers if not tag.endswith((":float", ":bool"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def _unshared(data: Any) -> Any:
    """Copy plain data so that what an alias repeats can be changed in one place alone."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_unshared(value) for value in data]
    return data


def _parse_yaml(text: str, at: Callable[[int], str]) -> tuple[Any, dict[Key, str]]:
    """Return the data of a YAML text, and where each of its keys is.

    Args:
        text: the YAML.
        at: turns a line number into the words that locate it for the user.

    Raises:
        ConfigError: not YAML, or a key is there twice in one map.
    """
    origins: dict[Key, str] = {}

    def note_origins(node: yaml.Node, key: Key) -> None:
        if isinstance(node, yaml.MappingNode):
            names = set()
            for name, value in node.value:
                where = at(name.start_mark.line + 1)
                if name.value in names and name.value != "<<":
                    raise ConfigError(f"{where}: the key {name.value!r} is there twice")
                names.add(name.value)
                origins[(*key, name.value)] = where
                note_origins(value, (*key, name.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                origins[(*key, i)] = at(value.start_mark.line + 1)
                note_origins(value, (*key, i))

    try:
        loader = _YamlLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, origins
        data = _unshared(loader.construct_document(node))
        note_origins(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{at(line)}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{at(1)}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{at(1)}: nested too deeply, or an alias contains itself") from None
    return data, origins


def _config_roots() -> list[Path]:
    package = Path(ppcls.__file__).parent
    return [p for p in (package / "configs", package.parent / "configs") if p.is_dir()]


def _find(source: str | Path) -> Path:
    """Return the file that `-c` names: a path, or a path under the configs that ppcls ships."""
    path = Path(source).expanduser()
    if path.is_file():
        return path
    roots = _config_roots()
    for root in roots:
        for candidate in (root / source, root / f"{source}.yaml"):
            if candidate.is_file():
                return candidate
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; -c takes a YAML file")
    shipped = [
        file.relative_to(root).with_suffix("").as_posix()
        for root in roots
        for file in sorted(root.rglob("*.yaml"))
    ]
    hint = did_you_mean(str(source).removesuffix(".yaml"), shipped)
    raise ConfigError(
        f"no such config file: {source}{hint or '; shipped ones: ' + ', '.join(shipped)}"
    )


def _apply_override(data: dict[str, Any], override: str) -> Key:
    """Set the value that `a.b.0.c=value` names and return its key; maps on the way are made."""
    name, found, text = override.partition("=")
    parts = name.strip().split(".")
    if not found or not all(parts):
        raise ConfigError(f"-o {override}: expected KEY=VALUE, such as Global.epochs=10")
    value, _ = _parse_yaml(text, lambda line: f"-o {override}")
    target: Any = data
    key: Key = ()
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise ConfigError(
                    f"-o {override}: {'.'.join(map(str, key))} is a list of {len(target)}; "
                    f"expected an index from 0 to {len(target) - 1}, not {part!r}"
                )
            index: str | int = int(part)
        elif isinstance(target, dict):
            index = part
            if not last and target.get(part) is None:
                target[part] = {}
        else:
            raise ConfigError(
                f"-o {override}: {'.'.join(map(str, key))} is {target!r}, which has no keys"
            )
        key = (*key, index)
        if last:
            target[index] = value
        else:
            target = target[index]
    return key


def _option_classes(annotation: Any) -> list[type[Options]]:
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return [annotation]
    return [c for argument in get_args(annotation) for c in _option_classes(argument)]


def _known_keys(model: type[Options], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the schema, without list indices."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _option_classes(field.annotation):
            step = f"{name}.{inner.__name__}." if issubclass(inner, OneKey) else f"{name}."
            yield from _known_keys(inner, prefix + step)


def _fields_at(location: Key) -> list[str]:
    """Return the keys that the schema knows at a pydantic error location's parent."""
    classes: list[type[Options]] = [Config]
    for part in location[:-1]:
        fields = [c.model_fields[part] for c in classes if part in c.model_fields]
        if fields:
            classes = [c for field in fields for c in _option_classes(field.annotation)]
        elif isinstance(part, str):
            classes = [c for c in classes if c.__name__ == part]
    return [
        name for c in classes for name in ([c.__name__] * issubclass(c, OneKey) + [*c.model_fields])
    ]


_EXPECTED = {
    "model_type": "a map of options",
    "list_type": "a list",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "dict_type": "a map",
    "invalid_key": "names for keys",
}
_LENGTHS = {"min_length": "at least", "max_length": "at most"}


def _describe(error: Any, value: Any) -> str:
    """Say in a few words what is wrong, what was found and what was expected."""
    kind, context, location = error["type"], error.get("ctx", {}), error["loc"]
    if kind == "extra_forbidden":
        word = str(location[-1])
        hint = did_you_mean(word, _fields_at(location))
        if not hint and len(location) == 1:
            same = [k for k in _known_keys(Config) if k.rpartition(".")[2] == word]
            hint = f"; did you mean {same[0]!r}?" if same else ""
        return f"unknown key{hint or '; known here: ' + ', '.join(_fields_at(location))}"
    if kind in ("missing", "union_tag_not_found"):
        by_data = location[-1] in ("image_root", "cls_label_path")
        return "missing; --data DIR sets it" if by_data else "missing"
    if kind == "one_key":
        found = next(iter(value), None) if isinstance(value, dict) else value
        hint = did_you_mean(str(found), context["names"].split(", "))
        return f"{error['msg']}, not {value!r}{hint}"
    if kind == "union_tag_invalid":
        names = context["expected_tags"].replace("'", "").split(", ")
        hint = did_you_mean(context["tag"], names)
        return f"{context['tag']!r} is not one of {', '.join(names)}{hint}"
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind in ("too_short", "too_long"):
        ends = [f"{word} {context[key]}" for key, word in _LENGTHS.items() if context.get(key)]
        return f"expected {' '.join(ends)} entries, not {context['actual_length']}"
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Input should be ")
    found = repr(value) if not isinstance(value, (dict, list)) else f"a {type(value).__name__}"
    if kind == "string_type" and isinstance(value, (int, float)):
        found += f"; in quotes it is one: '\"{value}\"'"
    return f"expected {expected}, not {found}"


def _explain(error: ValidationError, data: Any, origins: dict[Key, str], file: str) -> ConfigError:
    """Turn pydantic's errors into one line each: file and line, dotted key, what is wrong."""
    messages: dict[tuple[str, str], list[str]] = {}
    for item in error.errors(include_url=False):
        # Pydantic's location also names the chosen union members, which are no keys of the file.
        key: Key = ()
        value = data
        for part in item["loc"]:
            if isinstance(value, dict) and part not in value and len(value) == 1:
                # A `OneKey` that is not one of several: its name is no part of the location.
                (name,) = value
                if isinstance(value[name], dict) and (part in value[name] or part != name):
                    key, value = (*key, name), value[name]
            inside = isinstance(value, dict) and part in value
            if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
                value = value[part]
                key = (*key, part)
        if item["type"] == "missing":
            key = (*key, item["loc"][-1])
        elif item["type"].startswith("union_tag"):
            key = (*key, "name")
        known = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in origins), None)
        origin = origins[known] if known else file
        if item["type"] == "value_error":
            # What does not go together was made so by an override inside, if there is one.
            within = [at for k, at in origins.items() if k[: len(key)] == key]
            origin = next((at for at in reversed(within) if at.startswith("-o ")), origin)
        dotted = ".".join(map(str, key)) or "the file"
        texts = messages.setdefault((origin, dotted), [])
        text = _describe(item, value)
        if text not in texts:
            texts.append(text)
    return ConfigError(
        "\n".join(f"{at}: {key}: {' or '.join(texts)}" for (at, key), texts in messages.items())
    )


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        source: a YAML file, or the name of one that ppcls ships (`quick_start/HarDNet39_ds`).
        overrides: `a.b.0.c=value` each. Values are YAML and never run as code; list entries are
            named by index; keys that the file lacks may be set.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that the schema does not allow.
            Every problem has a line of its own: file and line (or the override), dotted key, what
            was found, what is expected and the closest known key.
    """
    path = _find(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the config file is not UTF-8 (byte {error.start})") from None
    data, origins = _parse_yaml(text, lambda line: f"{path}:{line}")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected sections such as Global and Arch, found {data!r:.60}")
    for override in overrides:
        key = _apply_override(data, override)
        origins = {k: v for k, v in origins.items() if k[: len(key)] != key}
        origins[key] = f"-o {override}"
        for end in range(1, len(key)):
            origins.setdefault(key[:end], f"-o {override}")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, data, origins, str(path)) from None


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
