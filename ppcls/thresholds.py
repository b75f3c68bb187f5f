"""The thresholds of a multi-label model: the scores from which an image is said to show a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, TypeAdapter

from ppcls.errors import ConfigError
from ppcls.options import Factor
from ppcls.spelling import did_you_mean

__all__ = ["AskedThresholds", "ClassThresholds", "Thresholds", "thresholds_of"]

_DEFAULT = "default"


def _name(key: Any) -> Any:
    # Classes without names are numbered, and YAML reads a number.
    return str(key) if type(key) is int else key


def _one_of(number: Any, *, by_name: bool = True) -> Any:
    """Return the annotation of a number, a list of them, or a map of class names to them.

    Unlike a union's, its errors are about the one form that is given.
    """
    forms: dict[type, Any] = {float: number, list: list[number]}
    if by_name:
        name = Annotated[str, BeforeValidator(_name)]
        forms[dict] = Annotated[dict[name, number], Field(min_length=1)]
    config = ConfigDict(strict=True, allow_inf_nan=False)
    adapters = {form: TypeAdapter(type_, config=config) for form, type_ in forms.items()}

    def check(value: Any) -> Any:
        return adapters.get(type(value), adapters[float]).validate_python(value)

    return Annotated[Any, PlainValidator(check, reduce(or_, forms.values()))]


Thresholds = _one_of(Factor)
"""One threshold for all classes, one for each, or by class name (see `thresholds_of`)."""

AskedThresholds = _one_of(Annotated[float, Field(ge=0, le=1)])
"""The same for one prediction, where 0 stands for every class."""

ClassThresholds = _one_of(Factor, by_name=False)
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
