"""What all backends have in common, and how they are registered."""

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
    """What a backend can do on this machine.

    Attributes:
        version: of the library that it runs on; None where that is not installed.
        precisions: what it computes in, for each device that it can use; empty if unusable.
        hint: how to install it, or why it cannot be used here, or not on a GPU.
    """

    version: str | None
    precisions: dict[str, list[str]] = field(default_factory=dict)
    hint: str = ""


class EngineBackend(ABC):
    """Runs a bundle's network with an inference engine; any thread may call it.

    It is made with the bundle's folder, `device` (`cpu` or `gpu`), `precision` (inputs and outputs
    stay float32), on a CPU the `threads` of one inference, and its own options.

    Attributes:
        name: what `backend` and `--backend` call it.
        reads: the files of a bundle that it can run; it takes the first that is there.
        remedy: the command that writes such a file.
        options: names of the options that only it takes, for each device.
        preference: for each device, how early `auto` takes it: the highest first. It never does
            where there is none.
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
        """Return what it can do on this machine."""

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
            BundleError: it has none; the message says how to get one.
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
    """Let `backend` and `--backend` name a class: a decorator.

    Raises:
        ConfigError: it is not derived from `EngineBackend`, or its name is taken.
    """
    if not (inspect.isclass(cls) and issubclass(cls, EngineBackend)):
        raise ConfigError(f"register_backend: {cls!r} is not a class derived from EngineBackend")
    known = BACKENDS.get(cls.name, cls)
    # A module that is loaded again registers its classes again.
    again = (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
    if cls.name == "auto" or not again:
        raise ConfigError(f"register_backend: the name {cls.name!r} is taken; choose another")
    BACKENDS[cls.name] = cls
    return cls


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these packages that is installed, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
