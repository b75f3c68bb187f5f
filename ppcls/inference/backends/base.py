"""What all backends have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from ppcls.errors import BundleError

__all__ = ["Backend", "Capability", "Device", "EngineBackend", "Precision", "installed", "require"]

Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class Capability:
    """What a backend can do on this machine.

    Attributes:
        version: of the library that it runs on; None where that is not installed.
        precisions: what it computes in, for each device that it can use; empty if unusable.
        reads: the files of a bundle that it runs, any one of them.
        options: what only this backend takes, for each device.
        hint: how to install it, or why it cannot be used here, or not on a GPU.
    """

    version: str | None
    precisions: dict[str, list[str]] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hint: str = ""


class Backend(Protocol):
    """Runs one network."""

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        ...


class EngineBackend(Backend, Protocol):
    """Runs a bundle's network with an inference engine; any thread may call it.

    Args:
        folder: the bundle.
        device: `cpu` or `gpu`.
        precision: what to compute in; inputs and outputs stay float32.
        options: `threads` of one inference on a CPU, and what `capability` lists.
    """

    name: ClassVar[str]

    def __init__(
        self, folder: Path, *, device: str, precision: Precision, **options: Any
    ) -> None: ...

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs."""
        ...

    @classmethod
    def capability(cls) -> Capability:
        """Say what it can do on this machine."""
        ...


def installed(*distributions: str) -> str | None:
    """Return the version of the first of these packages that is installed, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def require(folder: Path, names: tuple[str, ...], backend: str, remedy: str) -> Path:
    """Return the first of these files that a bundle has.

    Raises:
        BundleError: it has none of them; the message says how to get one.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BundleError(f"{folder}: no {' or '.join(names)}, which {backend} runs; {remedy}")
