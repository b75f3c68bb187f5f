"""Print a configuration as YAML with the origin of each value, or compare two of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from ppcls.config.load import resolve
from ppcls.config.paddleclas20 import FLAT_SECTIONS, FlatConfig, is_flat
from ppcls.config.schema import Config
from ppcls.config.yaml_files import Key, dotted, holds, read_config
from ppcls.ignored_options import IGNORED
from ppcls.printable import printable, shortened
from ppcls.yaml_text import to_yaml

__all__ = ["diff_configs", "json_schema", "show_config"]


def _scalar(value: Any) -> str:
    shows = printable(value) == str(value)  # otherwise every character is written in ASCII
    text = to_yaml(value, default_flow_style=True, width=2**31 - 1, allow_unicode=shows).rstrip()
    return text.removesuffix("\n...").removesuffix("...").rstrip()


def _is_leaf(value: Any) -> bool:
    if isinstance(value, list):
        return not any(isinstance(entry, (dict, list)) for entry in value)
    return not isinstance(value, dict) or not value


def _lines(
    value: Any, key: Key, origin: Callable[[Key], str], indent: str
) -> Iterator[tuple[str, str]]:
    """Yield the YAML lines of a value with their origins ("" for a map)."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for part, inner in items:
        lead = f"{indent}- " if isinstance(value, list) else f"{indent}{_scalar(part)}:"
        place = (*key, part)
        if _is_leaf(inner):
            gap = "" if isinstance(value, list) else " "
            yield f"{lead}{gap}{_scalar(inner)}", origin(place)
        elif isinstance(value, list):
            inside = list(_lines(inner, place, origin, indent + "  "))
            (first, at), *others = inside
            yield lead + first[len(indent) + 2 :], at
            yield from others
        else:
            yield lead, ""
            yield from _lines(inner, place, origin, indent + "  ")


_IGNORED = {name for options in IGNORED.values() for name in options}


def _ignored(
    data: Any, shown: Any, origins: Mapping[Key, str], key: Key = ()
) -> Iterator[tuple[Key, str]]:
    """Yield the keys of a configuration that are accepted and ignored, and where they are."""
    for part, value in data.items() if isinstance(data, dict) else enumerate(data):
        if holds(shown, (part,)):
            if isinstance(value, (dict, list)):
                yield from _ignored(value, shown[part], origins, (*key, part))
        elif part in _IGNORED and value is not None:
            yield (*key, part), origins.get((*key, part), "")


def _ignored_flat(source: str | Path) -> Iterator[tuple[Key, str]]:
    """Do the same for a file in the flat dialect, whose keys are translated before."""
    data, origins = read_config(source)
    # A file that only overrides complete is shown without this.
    with suppress(ValidationError):
        if is_flat(data):
            yield from _ignored(data, FlatConfig.model_validate(data).model_dump(), origins)


def show_config(source: str | Path, overrides: list[str], folder: str | Path | None = None) -> str:
    """Return a resolved configuration as YAML; comments show the origin of each value.

    Arguments and errors are those of `load_config`; `folder` is its `data`.
    """
    config, data, origins = resolve(source, overrides, folder)

    def origin(key: Key) -> str:
        places = [key[:n] for n in range(len(key), 0, -1) if key[:n] in origins]
        return origins[places[0]] if places and holds(data, key) else "default"

    shown = config.model_dump(exclude_none=True)
    lines = list(_lines(shown, (), origin, ""))
    for key, at in (*_ignored(data, shown, origins), *_ignored_flat(source)):
        lines.append((f"# has no effect: {printable(dotted(key))}", at))
    here = f"{Path.cwd()}/"
    width = min(60, max(len(text) for text, _ in lines))
    return "\n".join(
        f"{text:{width}}  # {printable(shortened(at.replace(here, '')))}" if at else text
        for text, at in lines
    )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if _is_leaf(value):
        yield key, _scalar(value)
        return
    for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{key}.{part}" if key else str(part))


def diff_configs(first: Config, second: Config) -> list[str]:
    """Return a line for each value that differs: `key: first -> second`; `-` means no value."""
    ours, theirs = (dict(_leaves(c.model_dump(exclude_none=True))) for c in (first, second))
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [
        f"{key}: {ours.get(key, '-')} -> {theirs.get(key, '-')}"
        for key in keys
        if ours.get(key) != theirs.get(key)
    ]


def json_schema() -> str:
    """Return the JSON Schema of both dialects, for editors."""
    refs, shared = models_json_schema([(Config, "validation"), (FlatConfig, "validation")])
    definitions = shared["$defs"]
    for model in (Config, FlatConfig):
        schema = definitions[model.__name__]
        # A file may inherit required sections from its bases.
        schema["properties"]["_base_"] = {"type": ["string", "array"], "items": {"type": "string"}}
        del schema["required"]
    return json.dumps(
        {
            "title": "ppcls configuration",
            "if": {"anyOf": [{"required": [name]} for name in FLAT_SECTIONS]},
            "then": refs[FlatConfig, "validation"],
            "else": refs[Config, "validation"],
            "$defs": definitions,
        },
        indent=2,
    )
