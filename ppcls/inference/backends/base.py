"""The base class of backends, and their registry."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ppcls.errors import BundleError, ConfigError

__all__ = [
    "BACKENDS",
    "Backend",
    "Capability",
    "EngineBackend",
    "installed_version",
    "register_backend",
]


class Backend(Protocol):
    """Runs one network."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        ...


@dataclass(frozen=True)
class Capability:
    """The capabilities of a backend on this machine.

    Attributes:
        version: version of its library; None if that is not installed.
        precisions: the supported precisions of each usable device; empty if there is none.
        hint: how to install it, or why it is unusable here or on a GPU.
    """

    version: str | None
    precisions: dict[str, list[str]] = field(default_factory=dict)
    hint: str = ""


class EngineBackend(ABC):
    """Runs a bundle's network with an inference engine; any thread may call it.

    Its constructor takes the bundle's folder, `device` (`cpu` or `gpu`), `precision` (inputs and
    outputs stay float32), `threads` (CPU threads of one inference), and its own options.

    Attributes:
        name: its name in `backend` and `--backend`.
        reads: the bundle files that it can run; it takes the first existing one.
        remedy: the command that writes such a file.
        options: names of the options that only it takes, for each device.
        preference: its priority in `auto`, for each device; the highest wins, and `auto` never
            takes it for a device without a priority.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    remedy: ClassVar[str] = "ppcls export"
    options: ClassVar[Mapping[str, Sequence[str]]] = {}
    preference: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def __init__(self, folder: str | Path, *, device: str, precision: str, **options: Any): ...

    @classmethod
    @abstractmethod
    def capability(cls) -> Capability:
        """Return its capabilities on this machine."""

    @abstractmethod
    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        return self.run_all(batch)[0]

    @classmethod
    def can_read(cls, folder: Path) -> bool:
        """Whether a bundle has a file that this backend runs."""
        return any((folder / name).is_file() for name in cls.reads)

    @classmethod
    def graph_file(cls, folder: Path) -> Path:
        """Return the file of a bundle that this backend runs.

        Raises:
            BundleError: the bundle has none; the message names the command that writes one.
        """
        for name in cls.reads:
            if (folder / name).is_file():
                return folder / name
        raise BundleError(
            f"{folder}: no {' or '.join(cls.reads)}, which the backend {cls.name} runs; "
            f"`{cls.remedy}` writes one"
        )


BACKENDS: dict[str, type[EngineBackend]] = {}
"""The registered backends by name."""

BackendT = TypeVar("BackendT", bound=type[EngineBackend])


def register_backend(cls: BackendT) -> BackendT:
    """Register a class under its name for `backend` and `--backend`; use it as a decorator.

    Raises:
        ConfigError: it is not derived from `EngineBackend`, lacks a method or an attribute that
            it must have, or its name is taken.
    """
    if not (inspect.isclass(cls) and issubclass(cls, EngineBackend)):
        raise ConfigError(f"register_backend: {cls!r} is not a class derived from EngineBackend")
    missing = sorted(cls.__abstractmethods__)
    missing += [name for name in ("name", "reads") if not hasattr(cls, name)]
    if missing:
        raise ConfigError(
            f"register_backend: {cls.__name__} must define {' and '.join(missing)} "
            "(see ppcls.EngineBackend)"
        )
    if not isinstance(cls.name, str) or isinstance(cls.reads, str):
        raise ConfigError(
            f"register_backend: {cls.__name__}: name is text and reads a tuple of file names, not "
            f"{cls.name!r} and {cls.reads!r}"
        )
    known = BACKENDS.get(cls.name, cls)
    # A reloaded module registers its classes again.
    again = (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
    if cls.name == "auto" or not again:
        raise ConfigError(f"register_backend: the name {cls.name!r} is taken; choose another")
    BACKENDS[cls.name] = cls
    return cls


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first installed package of these, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
