"""Write configuration.md, the reference of every key, from the schema: `make docs-config`."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ppcls.config.show import json_schema
from ppcls.options import Options

PAGE = Path(__file__).with_name("configuration.md")

_INTRODUCTION = """\
<!-- Written by `make docs-config` from the schema: change the docstrings in ppcls/config. -->

# Configuration reference

Every key that a configuration file may have. Anything else is an error, which names the file, the
line and the closest key. `ppcls config CONFIG` prints a configuration as it will be used, and where
each value came from; `ppcls config --schema` prints this reference as a JSON Schema, for editors.

- `_base_: other.yaml` (or a list; paths are relative to the file) begins a file that says only what
  differs. Maps are merged, and a map with `_delete_: true` replaces the one of the base.
- `-o KEY=VALUE` sets a value on the command line, read as YAML and never run as code. Entries of
  lists are named by index (`DataLoader.Train.dataset.transform_ops.1.ResizeImage.size=48`),
  `KEY=null` takes a value away, `KEY+=VALUE` appends to a list.
- Where the default is a dash, the key must be set, and `null` means no value. In paths, `~` and
  `$VARIABLE` stand for what they mean in a shell.
- What is written as a map of one key, `ResizeImage: {size: 32}`, is listed under that key.

There are two dialects: [sections](#sections), as in PaddleClas 2.1 and later, and the
[flat one](#flat-dialect) of PaddleClas 2.0, whose sections have names in capitals. Batch sizes of
the flat dialect are over all devices.
"""


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "", name).lower()


def _reference(schema: dict[str, Any]) -> str | None:
    return schema["$ref"].rpartition("/")[2] if "$ref" in schema else None


def _number(schema: dict[str, Any], name: str) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([name, ", ".join(limits)]).strip()


def _type(schema: dict[str, Any]) -> str:
    """Say in a few words what a value may be."""
    name = _reference(schema)
    if name:
        return f"[{name}](#{_anchor(name)})"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(inner) for inner in schema[word]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_type({"type": inner}) for inner in kind)
    if kind == "array":
        low, high = schema.get("minItems"), schema.get("maxItems")
        count = f"{low} of " if low and low == high else ""
        return f"list of {count}{_type(schema.get('items', {}))}"
    if kind == "object":
        if "properties" in schema:
            return " or ".join(_type(inner) for inner in schema["properties"].values())
        return f"map of names to {_type(schema.get('additionalProperties', {}))}"
    names = {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}
    return names.get(str(kind)) or _number(schema, str(kind))


def _options(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the options, without the map of one key that some are written as."""
    if list(schema.get("properties", {})) == schema.get("required"):
        (inner,) = schema["properties"].values() if len(schema["properties"]) == 1 else (None,)
        if inner and len(inner.get("anyOf", ())) == 2 and inner["anyOf"][1] == {"type": "null"}:
            return inner["anyOf"][0]
    return schema


def _about(description: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its text and what it says of each attribute."""
    text, _, rest = inspect.cleandoc(description).partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    for entry in re.split(r"\n    (?=\w)", "\n" + rest):
        name, colon, about = entry.strip().partition(":")
        if colon:
            attributes[name] = " ".join(about.split())
    return text.strip(), attributes


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "-"
    if "default" not in schema:
        return ""
    value = schema["default"]
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 40 else "see there"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _option_classes(base: type[Options] = Options) -> Iterator[type[Options]]:
    for inner in base.__subclasses__():
        yield inner
        yield from _option_classes(inner)


def _parent(cls: type[Options]) -> type[Options] | None:
    """Return the class whose keys this one has too, if it is one to be described itself."""
    documented = [c for c in cls.__mro__[1:] if c.__name__[0] != "_" and hasattr(c, "model_fields")]
    return documented[0] if documented[0].model_fields else None


def _fields(cls: type[Options]) -> set[str]:
    """Return the keys that are described with its parent."""
    parent = _parent(cls)
    if parent is None:
        return set()
    return {key for key in parent.model_fields if key not in cls.__annotations__}


def _table(
    schema: dict[str, Any], about: dict[str, str], without: Collection[str]
) -> Iterator[str]:
    columns = ["key", "value", "default", *(["meaning"] if about else [])]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for key, value in schema["properties"].items():
        if key in without:
            continue
        cells = [f"`{key}`", _type(value), _default(value, key in schema.get("required", ()))]
        if about:
            cells.append(about.get(key, ""))
        yield "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _classes(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the classes that a schema refers to."""
    name = _reference(schema)
    if name:
        yield name
    for inner in schema.values():
        for part in inner if isinstance(inner, list) else [inner]:
            if isinstance(part, dict):
                yield from _classes(part)


def _walk(name: str, definitions: dict[str, Any], places: dict[str, list[str]], at: str) -> None:
    """Note where each class is used, in the order of the sections."""
    for key, value in _options(definitions[name]).get("properties", {}).items():
        place = f"{at}.{key}".strip(".")
        for inner in dict.fromkeys(_classes(value)):
            known = inner in places
            if place not in places.setdefault(inner, []):
                places[inner].append(place)
            if not known:
                _walk(inner, definitions, places, place)


def _section(root: str, definitions: dict[str, Any], done: set[str]) -> Iterator[str]:
    classes = {cls.__name__: cls for cls in _option_classes()}
    text, about = _about(definitions[root].get("description", ""))
    yield from ("", text, "", *_table(definitions[root], about, ["_base_"]))
    places: dict[str, list[str]] = {}
    _walk(root, definitions, places, "")
    for name, where in places.items():
        if name in done:
            continue
        done.add(name)
        parent = _parent(classes[name])
        if parent and parent.__name__ not in places and parent.__name__ not in done:
            done.add(parent.__name__)
            text, about = _about(parent.__doc__ or "")
            yield from ("", f"### {parent.__name__}", "", text)
            yield from ("", *_table(parent.model_json_schema(), about, ["name"]))
        options = _options(definitions[name])
        text, about = _about(options.get("description", ""))
        yield from ("", f"### {name}", "", "In " + ", ".join(f"`{place}`" for place in where) + ".")
        if text:
            yield from ("", text)
        own = options.get("properties", {}).keys() - _fields(classes[name])
        if own:
            yield from ("", *_table(options, about, _fields(classes[name])))
        if parent:
            yield from ("", f"And the keys of [{parent.__name__}](#{_anchor(parent.__name__)}).")


def page() -> str:
    """Return the text of the page."""
    definitions = json.loads(json_schema())["$defs"]
    done: set[str] = set()
    lines = [_INTRODUCTION, "## Sections", *_section("Config", definitions, done)]
    lines += ["", "## Flat dialect", *_section("FlatConfig", definitions, done)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.buffer.write(page().encode())
    else:
        PAGE.write_text(page(), encoding="utf-8")
