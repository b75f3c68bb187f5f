"""What the schema knows at a place of a configuration: keys, and the lists that are defaults."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ppcls.options import OneKey, Options
from ppcls.registry import Registry

__all__ = ["default_list", "fields_at", "known_keys"]


def _option_classes(annotation: Any) -> list[type[Options]]:
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return [annotation]
    if isinstance(annotation, Registry):
        return list(annotation.classes)
    return [c for argument in get_args(annotation) for c in _option_classes(argument)]


def _classes_of(field: FieldInfo) -> list[type[Options]]:
    return [c for part in (field.annotation, *field.metadata) for c in _option_classes(part)]


def known_keys(model: type[Options], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of the schema, without list indices."""
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        yield prefix + name
        for inner in _classes_of(field):
            step = f"{name}.{inner.__name__}." if issubclass(inner, OneKey) else f"{name}."
            yield from known_keys(inner, prefix + step)


def _fields(model: type[Options]) -> list[tuple[str, FieldInfo | None]]:
    name: list[tuple[str, FieldInfo | None]] = [(model.__name__, None)]
    own = [(field.alias or key, field) for key, field in model.model_fields.items()]
    return name * issubclass(model, OneKey) + own


def _tags(model: type[Options]) -> list[str]:
    """Return the values of the key that tells a class from the others of its union."""
    keys = [model.model_fields[key] for key in ("name", "function") if key in model.model_fields]
    return [tag for key in keys for tag in get_args(key.annotation)]


def fields_at(
    location: Sequence[str | int], root: type[Options]
) -> list[tuple[str, FieldInfo | None]]:
    """Return the keys that the schema knows beside the last part of a location, and their fields.

    Where several classes may stand there, the keys are those of all of them. The name of a class
    that is a key has no field.
    """
    classes: list[type[Options]] = [root]
    for part in location[:-1]:
        fields = [c.model_fields[part] for c in classes if part in c.model_fields]
        if fields:
            classes = [c for field in fields for c in _classes_of(field)]
        elif isinstance(part, str):
            # A part that names no class is a key that the user chose.
            classes = [c for c in classes if part in (c.__name__, *_tags(c))] or classes
    return [field for c in classes for field in _fields(c)]


def default_list(location: Sequence[str | int], root: type[Options]) -> list[Any] | None:
    """Return the list, as plain data, that a key has where it is not set; None if it has none."""
    found = [field for name, field in fields_at(location, root) if name == location[-1] and field]
    defaults = [field.get_default(call_default_factory=True) for field in found]
    default = defaults[0] if defaults else None
    # Where several classes may stand there, it may depend on which of them is meant.
    if not isinstance(default, list) or defaults.count(default) < len(defaults):
        return None
    return [each.model_dump() if isinstance(each, BaseModel) else each for each in default]
