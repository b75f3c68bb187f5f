"""Turn pydantic's errors into lines that tell the user what to change and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError

from ppcls.config.paddleclas20 import SECTIONED_NAMES
from ppcls.config.schema import Config
from ppcls.config.schema_keys import fields_at, known_keys
from ppcls.config.yaml_files import Key, dotted, key_of
from ppcls.errors import ConfigError
from ppcls.options import Options
from ppcls.printable import shortened
from ppcls.spelling import did_you_mean

__all__ = ["explain"]

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
# Nobody reads more; a place may have several problems, one for each class that it could be.
_NAMED, _READ = 50, 500
_UNKNOWN = ("expected a map of one key, one of", " is not one of ", "no such architecture")
_LENGTHS = {"min_length": "at least", "max_length": "at most"}


def _shown(value: Any) -> str:
    return shortened(repr(value), 200)


def _describe(error: Any, value: Any, root: type[Options]) -> str:
    """Describe the problem in a few words: what was found and what was expected."""
    kind, context, location = error["type"], error.get("ctx", {}), error["loc"]
    if kind == "extra_forbidden":
        word = str(location[-1])
        fields = fields_at(location, root)
        known = [name for name, _ in fields]
        if fields and not any(field for _, field in fields):
            return f"unknown key; {known[0]} has no options"
        same = [k for k in known_keys(root) if k.rpartition(".")[2] == word]
        if root is Config and word in SECTIONED_NAMES:
            same.append(SECTIONED_NAMES[word])
        at_the_top = len(location) == 1 and same
        hint = f"; did you mean {same[0]!r}?" if at_the_top else did_you_mean(word, known)
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
        return f"{error['msg']}, not {_shown(value)}{hint}"
    if kind == "union_tag_invalid":
        names = context["expected_tags"].replace("'", "").split(", ")
        hint = did_you_mean(context["tag"], names)
        return f"{_shown(context['tag'])} is not one of {', '.join(names)}{hint}"
    if kind in ("value_error", "ignored_option"):
        return error["msg"].removeprefix("Value error, ")
    if kind in ("too_short", "too_long"):
        ends = [f"{word} {context[key]}" for key, word in _LENGTHS.items() if context.get(key)]
        return f"expected {' '.join(ends)} entries, not {context['actual_length']}"
    expected = _EXPECTED.get(kind) or error["msg"].removeprefix("Input should be ")
    found = f"a {type(value).__name__}" if isinstance(value, (dict, list)) else _shown(value)
    if kind == "list_type" and isinstance(value, dict) and all(map(str.isdecimal, value)):
        return "has no entries to select by index; set the whole list"
    if kind == "literal_error":
        names = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        found += did_you_mean(str(value), names)
    if kind == "string_type" and isinstance(value, (int, float)):
        found += f"; quote it: '\"{value}\"'"
    return f"expected {expected}, not {found}"


def _loads_plugins(data: Any) -> bool:
    section = data.get("Global") if isinstance(data, dict) else None
    return bool(isinstance(section, dict) and section.get("plugins"))


def _origin(key: Key, origins: Mapping[Key, str]) -> str | None:
    """Return where a key, or the closest key that holds it, was set."""
    known = (key[:n] for n in range(len(key), 0, -1) if key[:n] in origins)
    return next((origins[k] for k in known), None)


def _locate(error: Any, data: Any) -> tuple[Key, Any]:
    """Return the key that an error is about, and its value.

    Pydantic's location also names the chosen union members, which are not keys of the file.
    """
    key: Key = ()
    value = data
    for part in error["loc"]:
        if isinstance(value, dict) and part not in value and len(value) == 1:
            # A `OneKey` outside a union: its name is not part of the location.
            (name,) = value
            if isinstance(value[name], dict) and (part in value[name] or part != name):
                key, value = (*key, name), value[name]
        inside = isinstance(value, dict) and part in value
        if inside or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
            key = (*key, part)
    if error["type"] == "missing":
        key = (*key, error["loc"][-1])
    elif error["type"].startswith("union_tag"):
        by = error["ctx"]["discriminator"].strip("'")
        key = (*key, "name" if by.endswith("()") else by)  # a function reads the name, too
    return key, value


def explain(
    error: ValidationError,
    data: Any,
    origins: Mapping[Key, str],
    file: str,
    root: type[Options] = Config,
    name: Callable[[Key], str] = dotted,
) -> ConfigError:
    """Turn pydantic's errors into one line each: file and line, dotted key, what is wrong.

    Args:
        error: the validation error of `data`.
        data: the configuration as read.
        origins: where each of its keys is.
        file: the file's name, for problems without a place in the file.
        root: the schema of the validation.
        name: returns the file's name of a key.
    """
    messages: dict[str, list[str]] = {}
    for item in islice(error.errors(include_url=False), _READ):
        if item["type"] == "default_factory_not_called":
            continue  # follows from a wrong option that is already reported
        key, value = _locate(item, data)
        text = _describe(item, value, root)
        mismatched: Sequence[str] = getattr(item.get("ctx", {}).get("error"), "keys", ())
        keys = [key_of(each) for each in mismatched] or [key]
        for each in mismatched:
            text = text.replace(each, name(key_of(each)))
        places = [at for each in keys if (at := _origin(each, origins))]
        key, origin = keys[0], places[0] if places else file
        if item["type"] in ("value_error", "one_key"):
            # Blame an override if one of the conflicting options comes from it.
            inside = [at for k, at in origins.items() if key and k[: len(key)] == key]
            overrides = (at for at in (*reversed(inside), *places) if at.startswith("-o "))
            origin = next(overrides, origin)
        texts = messages.setdefault(f"{origin}: {name(key)}" if key else origin, [])
        if text not in texts:
            texts.append(text)
    lines = [f"{place}: {' or '.join(texts)}" for place, texts in messages.items()]
    more = len(lines) - _NAMED
    if any(text in line for text in _UNKNOWN for line in lines) and not _loads_plugins(data):
        lines.append(
            f"{file}: parts of your own are known once their module is loaded: Global.plugins in "
            "the configuration, or --plugin MODULE"
        )
    return ConfigError(*lines[:_NAMED], *[f"{file}: and {more} more problems"] * (more > 0))
