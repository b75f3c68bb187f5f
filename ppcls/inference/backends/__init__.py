"""What runs a network: small classes with one interface, and which of them to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, get_args

from ppcls.devices import core_count
from ppcls.errors import ConfigError, MissingDependencyError, RunError, did_you_mean
from ppcls.inference.backends.base import (
    Backend,
    Capability,
    Device,
    EngineBackend,
    Precision,
)
from ppcls.inference.backends.onnxruntime import OnnxRuntimeBackend
from ppcls.inference.backends.openvino import OpenVINOBackend
from ppcls.inference.backends.paddle import PaddleBackend, PaddleOpenVINOBackend
from ppcls.inference.backends.tensorrt import TensorRTBackend
from ppcls.inference.fastest import recall

__all__ = [
    "BACKENDS",
    "BACKEND_OPTIONS",
    "Backend",
    "Capability",
    "Device",
    "EngineBackend",
    "Opened",
    "Precision",
    "choose",
    "open_backend",
    "usable",
]

BACKENDS: dict[str, type[EngineBackend]] = {
    backend.name: backend
    for backend in (
        PaddleBackend,
        PaddleOpenVINOBackend,
        TensorRTBackend,
        OnnxRuntimeBackend,
        OpenVINOBackend,
    )
}

BACKEND_OPTIONS = ("gpu_memory_mb", "onednn", "tensorrt")
"""What only some of them take."""

_ON_CPU = "device='cpu' (--device cpu)"
_PREFERRED = {
    "cpu": ("openvino", "onnxruntime", "paddle-openvino", "paddle"),
    "gpu": ("paddle", "onnxruntime"),
}
"""For `auto`, the first that can: in the order of what was measured on our models."""


def _has(folder: Path, can: Capability) -> bool:
    return any((folder / file).is_file() for file in can.reads)


def usable(folder: Path) -> dict[str, Capability]:
    """Return the backends that can run a bundle on this machine."""
    found = {name: backend.capability() for name, backend in BACKENDS.items()}
    return {name: can for name, can in found.items() if can.precisions and _has(folder, can)}


class Opened(NamedTuple):
    """A backend that is ready, and what it came to.

    Attributes:
        engine: runs the network.
        name: of the backend.
        version: of its library.
        device: where it runs.
        precision: what it computes in.
        threads: CPU threads of one inference; None on a GPU.
    """

    engine: Backend
    name: str
    version: str
    device: str
    precision: str
    threads: int | None

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        return f"{self.name} {self.version}, {self.device}, {self.precision}{threads}"


def choose(folder: Path, device: Device = "auto", precision: Precision = "fp32") -> tuple[str, str]:
    """Return the names of the backend and the device that `auto` stands for.

    It is what `ppcls benchmark --tune` found the fastest, or else the first of those that were
    faster on our models.

    Raises:
        RunError: nothing that is installed can run the bundle so.
    """
    for where in ("gpu", "cpu") if device == "auto" else (device,):
        tuned = recall(folder, where, precision)
        for name in (*([tuned] if tuned in BACKENDS else []), *_PREFERRED[where]):
            # One after the other: to ask may take an import.
            can = BACKENDS[name].capability()
            if _has(folder, can) and precision in can.precisions.get(where, ()):
                return name, where
    wanted = precision if device == "auto" else f"{precision} on {device}"
    without = BACKENDS["paddle"].capability()
    if device == "gpu" and "gpu" not in without.precisions:
        way_out = f"{without.hint}, or use {_ON_CPU}"
    else:
        way_out = "`ppcls backends` lists what each can do and how to install it"
    raise RunError(f"{folder}: no installed backend runs it in {wanted}; {way_out}")


def open_backend(
    name: str,
    folder: Path,
    *,
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: int | None = None,
    **options: Any,
) -> Opened:
    """Return a backend by its name, ready to run a bundle.

    Args:
        name: a key of `BACKENDS`, or `auto`.
        folder: the bundle.
        device: `auto` takes a GPU if the backend can use one.
        precision: what to compute in.
        threads: CPU threads of one inference; None is all cores.
        options: what only this backend takes.

    Raises:
        ConfigError: no such backend, or it cannot compute so or has no such option.
        MissingDependencyError: it is not installed.
        RunError: it has no such device.
        BundleError: the bundle lacks the file that it runs.
    """
    for what, value, known in (
        ("device", device, get_args(Device)),
        ("precision", precision, get_args(Precision)),
    ):
        if value not in known:
            hint = did_you_mean(value, known)
            raise ConfigError(f"no such {what}: {value!r}{hint}; known: {', '.join(known)}")
    where: str = device
    if name == "auto":
        name, where = choose(folder, device, precision)
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS)
        raise ConfigError(f"no such backend: {name!r}{hint}; known: auto, {', '.join(BACKENDS)}")
    can = BACKENDS[name].capability()
    if can.version is None:
        raise MissingDependencyError(f"the backend {name} cannot be used: {can.hint}")
    if where == "auto":
        where = "gpu" if "gpu" in can.precisions else "cpu"
    if where not in can.precisions:
        has = f"{can.hint}, or" if can.hint else f"it runs on {', '.join(can.precisions)} here;"
        raise RunError(f"the backend {name} has no {where}: {has} use {_ON_CPU}")
    if precision not in can.precisions[where]:
        does = ", ".join(can.precisions[where])
        raise ConfigError(f"the backend {name} computes in {does} on this {where}, not {precision}")
    if where == "gpu" and threads is not None:
        raise ConfigError("threads are those of a CPU, and this runs on a GPU")
    for option in options:
        if option not in can.options.get(where, ()):
            raise ConfigError(f"the backend {name} has no option {option!r} on this {where}")
    if where == "cpu":
        options["threads"] = threads = threads or core_count()
    engine = BACKENDS[name](folder, device=where, precision=precision, **options)
    return Opened(engine, name, can.version, where, precision, threads)
