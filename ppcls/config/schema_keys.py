"""Look up the schema at a place of a configuration: known keys and default lists."""

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
    """Return the values of the key that selects a class of a union."""
    keys = [model.model_fields[key] for key in ("name", "function") if key in model.model_fields]
    return [tag for key in keys for tag in get_args(key.annotation)]


def fields_at(
    location: Sequence[str | int], root: type[Options]
) -> list[tuple[str, FieldInfo | None]]:
    """Return the known keys at the level of a location's last part, with their fields.

    If several classes are possible there, return the keys of all of them. A key that is a class
    name has no field.
    """
    classes: list[type[Options]] = [root]
    for part in location[:-1]:
        fields = [c.model_fields[part] for c in classes if part in c.model_fields]
        if fields:
            classes = [c for field in fields for c in _classes_of(field)]
        elif isinstance(part, str):
            # A part that names no class is a key chosen by the user.
            classes = [c for c in classes if part in (c.__name__, *_tags(c))] or classes
    return [field for c in classes for field in _fields(c)]


def default_list(location: Sequence[str | int], root: type[Options]) -> list[Any] | None:
    """Return the default list of a key as plain data; None if it has none."""
    found = [field for name, field in fields_at(location, root) if name == location[-1] and field]
    defaults = [field.get_default(call_default_factory=True) for field in found]
    default = defaults[0] if defaults else None
    # If several classes are possible there, the default may depend on the class.
    if not isinstance(default, list) or defaults.count(default) < len(defaults):
        return None
    return [each.model_dump() if isinstance(each, BaseModel) else each for each in default]
