"""The thresholds of a multi-label model: the scores from which an image is said to show a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ppcls.errors import ConfigError
from ppcls.options import Factor
from ppcls.spelling import did_you_mean

__all__ = ["AskedThresholds", "ClassThresholds", "Thresholds", "thresholds_of"]

_DEFAULT = "default"


def _form(value: Any) -> str:
    return "list" if isinstance(value, list) else "map" if isinstance(value, dict) else "number"


def _name(key: Any) -> Any:
    # Classes without names are numbered, and YAML reads a number.
    return str(key) if type(key) is int else key


def _of(number: Any) -> Any:
    """Return the annotation of one such number, a list, or a map of class names to them."""
    each = Annotated[str, BeforeValidator(_name)]
    named = Annotated[dict[each, number], Field(min_length=1)]  # type: ignore[valid-type]
    return Annotated[
        Annotated[number, Tag("number")]
        | Annotated[list[number], Tag("list")]
        | Annotated[named, Tag("map")],
        Discriminator(_form),
    ]


Thresholds = _of(Factor)
"""One threshold for all classes, one for each, or by class name (see `thresholds_of`)."""

AskedThresholds = _of(Annotated[float, Field(ge=0, le=1)])
"""The same for one prediction, where 0 stands for every class."""

ClassThresholds = Annotated[
    Annotated[Factor, Tag("number")] | Annotated[list[Factor], Tag("list")],
    Discriminator(_form),
]
"""One threshold for all classes, or one for each in the order of their labels."""


def thresholds_of(
    given: float | Sequence[float] | Mapping[str, float], names: Sequence[str], key: str
) -> list[float]:
    """Return the threshold of each class.

    Args:
        given: one for all; one for each class; or by class name, where `default` (0.5 if it is
            missing) is that of the others.
        names: the class names, in the order of their labels.
        key: what sets them, in errors.

    Raises:
        ConfigError: the number of thresholds is another one, or no class has a name.
    """
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in names and name != _DEFAULT]
        if unknown:
            hint = did_you_mean(unknown[0], names)
            raise ConfigError(f"{key}: no class is called {unknown[0]!r}{hint}")
        return [given.get(name, given.get(_DEFAULT, 0.5)) for name in names]
    if isinstance(given, Sequence):
        if len(given) != len(names):
            raise ConfigError(f"{key}: {len(given)} thresholds for {len(names)} classes")
        return list(given)
    return [given] * len(names)
