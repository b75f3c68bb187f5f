"""The classes that a configuration can name, by kind: built-in and registered by users.

A `Registry` is also a type annotation: `Annotated[Any, LOSSES]` accepts any registered loss.
Pydantic fixes the accepted types when it creates a class; classes marked with
`follows_registries` are rebuilt after later registrations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import reduce
from importlib import import_module
from operator import or_
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any, Generic, TypeVar, overload

from pydantic import BaseModel, Discriminator, GetCoreSchemaHandler, Tag
from pydantic_core import CoreSchema

from ppcls.errors import ConfigError
from ppcls.options import OneKey, Options, one_of

__all__ = ["Registry", "follows_registries", "import_modules", "is_own"]

OptionsT = TypeVar("OptionsT", bound=Options)
ModelT = TypeVar("ModelT", bound=type[BaseModel])
ClassT = TypeVar("ClassT", bound=type)

_FOLLOWERS: list[type[BaseModel]] = []
_NESTED: list[Registry] = []


def follows_registries(cls: ModelT) -> ModelT:
    """Let a class with fields of registered classes accept later registrations, too."""
    _FOLLOWERS.append(cls)
    return cls


def _rebuild() -> None:
    registered = [cls for registry in _NESTED for cls in registry.classes]
    for follower in (*registered, *_FOLLOWERS):
        follower.model_rebuild(force=True)


def is_own(cls: type) -> bool:
    """Whether a class is part of ppcls, and not of a plug-in."""
    return cls.__module__.partition(".")[0] == "ppcls"


class Registry(Generic[OptionsT]):
    """The classes of one kind, by their names in a configuration.

    Classes derived from `OneKey` are written `{Name: {option: value}}`, others as a map with the
    key `name`.

    Args:
        kind: the kind in one word, such as "loss".
        base: the common base class.
        default: the class of a map without `name`, if that is allowed.
        nested: whether the classes have fields of other registries.
        required: methods of the base class of which a class must define one.
    """

    def __init__(
        self,
        kind: str,
        base: type[OptionsT],
        default: str | None = None,
        nested: bool = False,
        required: Sequence[str] = (),
    ):
        self.kind, self.base, self.default = kind, base, default
        if nested:
            _NESTED.append(self)
        self._classes: dict[str, type[OptionsT]] = {}
        self._aliases: dict[str, str] = {}
        self.required = required

    @overload
    def register(self, cls: ClassT, *, aliases: tuple[str, ...] = ()) -> ClassT: ...
    @overload
    def register(self, *, aliases: tuple[str, ...] = ()) -> Callable[[ClassT], ClassT]: ...
    def register(self, cls: Any = None, *, aliases: tuple[str, ...] = ()) -> Any:
        """Register a class under its own name and aliases; usable as a decorator.

        Raises:
            ConfigError: the class is not derived from the base class, could not work, or its name
                is taken.
        """
        if cls is None:
            return lambda cls: self.register(cls, aliases=aliases)
        if not (inspect.isclass(cls) and issubclass(cls, self.base)):
            raise ConfigError(
                f"register_{self.kind}: {cls!r} is not a class derived from "
                f"{self.base.__module__}.{self.base.__name__}"
            )
        if isinstance(aliases, str) or (aliases and issubclass(self.base, OneKey)):
            raise ConfigError(
                f"register_{self.kind}: aliases={aliases!r}: expected a tuple of names, and only "
                "for classes that are chosen by `name`; a class that is a key has one name"
            )
        for name in (cls.__name__, *aliases):
            known = self.get(name)
            # A reloaded module registers its classes again.
            if known and (known.__module__, known.__qualname__) != (
                cls.__module__,
                cls.__qualname__,
            ):
                raise ConfigError(
                    f"register_{self.kind}: {name!r} is taken by {known.__module__}."
                    f"{known.__qualname__}; give the class another name"
                )
        if not is_own(cls):
            self._check(cls)
        self._classes[cls.__name__] = cls
        self._aliases |= dict.fromkeys(aliases, cls.__name__)
        if not is_own(cls):
            _rebuild()
        return cls

    def _check(self, cls: type) -> None:
        """Refuse what would fail only when it is used.

        Raises:
            ConfigError: a method is missing, or options are not fields.
        """
        if "__init__" in cls.__dict__:
            raise ConfigError(
                f"register_{self.kind}: {cls.__name__} defines __init__; options are annotated "
                "fields of the class, such as `amount: float = 0.2`"
            )
        if self.required and not any(
            getattr(cls, name) is not getattr(self.base, name) for name in self.required
        ):
            raise ConfigError(
                f"register_{self.kind}: {cls.__name__} must define {' or '.join(self.required)} "
                f"(see ppcls.{self.base.__name__})"
            )

    def remove(self, name: str) -> None:
        """Remove a registered class and its aliases."""
        del self._classes[name]
        self._aliases = {alias: of for alias, of in self._aliases.items() if of != name}
        _rebuild()

    def get(self, name: str) -> type[OptionsT] | None:
        """Return the class with this name, or None."""
        return self._classes.get(self._aliases.get(name, name))

    @property
    def classes(self) -> tuple[type[OptionsT], ...]:
        """The registered classes, in the order of their registration."""
        return tuple(self._classes.values())

    @property
    def names(self) -> list[str]:
        """All names, including aliases."""
        return [*self._classes, *self._aliases]

    def _tag(self, value: Any) -> str | None:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        name = self.default if name is None else name
        return None if name is None else self._aliases.get(str(name), str(name))

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        if issubclass(self.base, OneKey):
            return handler(one_of(*self._classes.values()))  # type: ignore[arg-type]
        union = reduce(or_, (Annotated[c, Tag(name)] for name, c in self._classes.items()))  # type: ignore[arg-type]
        return handler(Annotated[union, Discriminator(self._tag)])


def import_modules(package: ModuleType) -> None:
    """Import the modules of a package, so that they register their classes."""
    for info in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{info.name}")
