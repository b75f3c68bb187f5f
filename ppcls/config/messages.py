"""From pydantic's errors to lines that tell a user what to change where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ppcls.config.paddleclas20 import FlatConfig, dotted_names
from ppcls.config.schema import Config
from ppcls.config.schema_keys import fields_at, known_keys
from ppcls.config.yaml_files import Key
from ppcls.errors import ConfigError, did_you_mean
from ppcls.options import Options

__all__ = ["explain"]


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
        known = [name for name, _ in fields_at(location, root)]
        hint = ""
        if len(location) == 1:
            same = [k for k in known_keys(root) if k.rpartition(".")[2] == word]
            hint = f"; did you mean {same[0]!r}?" if same else _in_other_dialect(word, value, root)
        hint = hint or did_you_mean(word, known)
        return f"unknown key{hint or '; known here: ' + ', '.join(known)}"
    if kind in ("missing", "union_tag_not_found"):
        by_data = location[-1] in ("image_root", "cls_label_path")
        return "missing; --data DIR sets it" if by_data else "missing"
    if kind == "one_key":
        names = context["names"].split(", ")
        keys = list(value) if isinstance(value, dict) else [value]
        unknown = [key for key in keys if key not in names]
        hint = did_you_mean(str(unknown[0]), names) if unknown else ""
        if len(keys) > 1:
            found = ", ".join(map(str, keys))
            return f"expected a map of one key, found {found}{hint or '; set the entry as a whole'}"
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
    if kind == "list_type" and isinstance(value, dict) and all(map(str.isdecimal, value)):
        return "has no entries that an index could reach; set the whole list"
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
        if item["type"] in ("value_error", "one_key"):
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
