"""From pydantic's errors to lines that tell a user what to change where."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from ppcls.config.flat import FlatConfig, dotted_names
from ppcls.config.schema import Config
from ppcls.config.source import Key
from ppcls.errors import ConfigError, did_you_mean
from ppcls.options import OneKey, Options

__all__ = ["explain"]


def _option_classes(annotation: Any) -> list[type[Options]]:
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return [annotation]
    return [c for argument in get_args(annotation) for c in _option_classes(argument)]


def _known_keys(model: type[Options], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the schema, without list indices."""
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        yield prefix + name
        for inner in _option_classes(field.annotation):
            step = f"{name}.{inner.__name__}." if issubclass(inner, OneKey) else f"{name}."
            yield from _known_keys(inner, prefix + step)


def _names(model: type[Options]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _tags(model: type[Options]) -> list[str]:
    """Return the values of the key that tells a class from the others of its union."""
    keys = [model.model_fields[key] for key in ("name", "function") if key in model.model_fields]
    return [tag for key in keys for tag in get_args(key.annotation)]


def _fields_at(location: Key, root: type[Options]) -> list[str]:
    """Return the keys that the schema knows at a pydantic error location's parent."""
    classes: list[type[Options]] = [root]
    for part in location[:-1]:
        fields = [c.model_fields[part] for c in classes if part in c.model_fields]
        if fields:
            classes = [c for field in fields for c in _option_classes(field.annotation)]
        elif isinstance(part, str):
            # A part that names no class is a key that the user chose.
            classes = [c for c in classes if part in (c.__name__, *_tags(c))] or classes
    return [name for c in classes for name in ([c.__name__] * issubclass(c, OneKey) + _names(c))]


def _in_other_dialect(word: str, value: Any, root: type[Options]) -> str:
    """Say what a key of the one dialect is called in the other, which the file is in."""
    flat = dotted_names()
    if root is not FlatConfig:
        return f"; did you mean {flat[word]!r}?" if word in flat else ""
    if word not in Config.model_fields:
        return ""
    sectioned = {to: key for key, to in flat.items()}
    key = word
    while isinstance(value, dict) and len(value) == 1:
        (part,) = value
        key, value = f"{key}.{part}", value[part]
    hint = f"; did you mean {sectioned[key]!r}?" if key in sectioned else ""
    return f" in a file of the flat dialect{hint}"


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


def _describe(error: Any, value: Any, root: type[Options]) -> str:
    """Say in a few words what is wrong, what was found and what was expected."""
    kind, context, location = error["type"], error.get("ctx", {}), error["loc"]
    if kind == "extra_forbidden":
        word = str(location[-1])
        known = _fields_at(location, root)
        hint = ""
        if len(location) == 1:
            same = [k for k in _known_keys(root) if k.rpartition(".")[2] == word]
            hint = f"; did you mean {same[0]!r}?" if same else _in_other_dialect(word, value, root)
        hint = hint or did_you_mean(word, known)
        return f"unknown key{hint or '; known here: ' + ', '.join(known)}"
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


def _origin(key: Key, origins: Mapping[Key, str]) -> str | None:
    """Return where a key was set, or what holds it."""
    known = (key[:n] for n in range(len(key), 0, -1) if key[:n] in origins)
    return next((origins[k] for k in known), None)


def _named_keys(message: str) -> list[Key]:
    """Return the words of a message that may be keys."""
    return [tuple(name.split(".")) for name in re.findall(r"[A-Za-z]\w*(?:\.\w+)*", message)]


def explain(
    error: ValidationError,
    data: Any,
    origins: Mapping[Key, str],
    file: str,
    root: type[Options] = Config,
) -> ConfigError:
    """Turn pydantic's errors into one line each: file and line, dotted key, what is wrong.

    Args:
        error: what the validation of `data` raised.
        data: the configuration as it was read.
        origins: where each of its keys is.
        file: its name, for what has no place inside.
        root: the schema that it was validated with.
    """
    messages: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called":
            continue  # it would have followed from an option that is wrong, and named already
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
            by = item["ctx"]["discriminator"].strip("'")
            key = (*key, "name" if by.endswith("()") else by)  # a function looks at the name too
        origin = _origin(key, origins) or file
        if item["type"] == "value_error":
            # What does not go together was made so by an override inside, if there is one.
            within = [at for k, at in origins.items() if k[: len(key)] == key]
            if not key:
                # Sections that do not go together: the message names the keys.
                places = [_origin(k, origins) for k in _named_keys(item["msg"])]
                within = [place for place in places if place]
                origin = within[0] if within else origin
            origin = next((at for at in reversed(within) if at.startswith("-o ")), origin)
        place = f"{origin}: {'.'.join(map(str, key))}" if key else origin
        texts = messages.setdefault(place, [])
        text = _describe(item, value, root)
        if text not in texts:
            texts.append(text)
    return ConfigError(
        "\n".join(f"{place}: {' or '.join(texts)}" for place, texts in messages.items())
    )
