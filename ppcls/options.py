"""Typed options: the base class of all sections and components of a configuration file."""

from __future__ import annotations

import os
import reprlib
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from ppcls.ignored_options import IGNORED

__all__ = [
    "Checksum",
    "Count",
    "Factor",
    "FileName",
    "Fraction",
    "Mismatch",
    "Natural",
    "NotNegative",
    "OneKey",
    "Options",
    "PathText",
    "Positive",
    "Share",
    "Side",
    "first_problem",
    "one_of",
]

_LARGEST = 2**31 - 1
Count = Annotated[int, Field(gt=0, le=_LARGEST)]
Natural = Annotated[int, Field(ge=0, le=_LARGEST)]
Side = Annotated[int, Field(gt=0, le=16384)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, lt=1)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal digits."""
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
"""The name of a file in the folder of the file that names it: without folders, not hidden."""


class Mismatch(ValueError):
    """A validator's error about options that do not fit together.

    Attributes:
        keys: the dotted names of the options; the message is about the first.
    """

    def __init__(self, message: str, *keys: str):
        super().__init__(message)
        self.keys = keys


class Options(BaseModel):
    """A group of named, typed, immutable options: no unknown key, no conversion of types.

    The options of `ppcls.ignored_options` for the class and its bases are also accepted, and
    dropped.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_ignored(cls, value: Any) -> Any:
        ignored = {
            key: option
            for base in cls.__mro__
            for key, option in IGNORED.get(base.__name__, {}).items()
            if key not in cls.model_fields
        }
        if not ignored or not isinstance(value, dict):
            return value
        wrong: list[InitErrorDetails] = []
        for key in [name for name in ignored if name in value]:
            problem = ignored[key].problem(value[key])
            if problem:
                kind = PydanticCustomError("ignored_option", "{problem}", {"problem": problem})
                wrong.append({"type": kind, "loc": (key,), "input": value[key]})
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return {key: option for key, option in value.items() if key not in ignored}


def first_problem(error: ValidationError) -> str:
    """Return pydantic's first error as one line: the dotted key and the problem."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if message.startswith("Input should be "):
        found = reprlib.repr(first["input"])
        message = f"expected {message.removeprefix('Input should be ')}, not {found}"
    return f"{place}: {message}" if place else message


class OneKey(Options):
    """Options written as a map with one key, the class name: `{ResizeImage: {size: 32}}`.

    A null value (`ToCHWImage:`) means no options.
    """

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if isinstance(value, dict) and list(value) == [cls.__name__]:
            options = value[cls.__name__]
            return {} if options is None else options
        if isinstance(value, dict) and cls.__name__ in value:
            others = ", ".join(repr(key) for key in value if key != cls.__name__)
            raise ValueError(f"expected a map of one key, {cls.__name__}; found {others} beside it")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        options = handler(core_schema)
        return {
            "type": "object",
            "properties": {cls.__name__: {"anyOf": [options, {"type": "null"}]}},
            "required": [cls.__name__],
            "additionalProperties": False,
        }

    @model_serializer(mode="wrap")
    def _wrap(self, handler: Any) -> dict[str, Any]:
        return {type(self).__name__: handler(self)}


def _one_key(value: Any) -> str | None:
    if isinstance(value, OneKey):
        return type(value).__name__
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value)))
    return None


def one_of(*classes: type[OneKey]) -> Any:
    """Return the annotation of a value of exactly one of these `OneKey` classes."""
    union = reduce(or_, (Annotated[c, Tag(c.__name__)] for c in classes))  # type: ignore[arg-type]
    return Annotated[
        union,
        Discriminator(
            _one_key,
            custom_error_type="one_key",
            custom_error_message="expected a map of one key, one of {names}",
            custom_error_context={"names": ", ".join(c.__name__ for c in classes)},
        ),
    ]


def _parse_fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    numerator, slash, denominator = value.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        message = f"expected a number or a fraction such as 1.0/255.0, not {value!r}"
        raise ValueError(message) from None


Fraction = Annotated[
    float,
    BeforeValidator(_parse_fraction),
    WithJsonSchema({"type": ["number", "string"]}),
]
"""A number, or a quotient of two written as a string: `1.0/255.0`."""


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


PathText = Annotated[str, AfterValidator(_expand)]
"""A path (or URL), with `~` and `$VARIABLE` expanded."""
