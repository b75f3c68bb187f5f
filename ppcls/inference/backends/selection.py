"""Backend selection: the named one, or the fastest usable one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ppcls.devices import core_count
from ppcls.errors import BundleError, ConfigError, MissingDependencyError, RunError
from ppcls.inference.backends.base import BACKENDS, Backend, Capability, EngineBackend
from ppcls.inference.fastest import recall
from ppcls.inference.types import Device, InferencePrecision
from ppcls.spelling import did_you_mean

__all__ = ["Opened", "backend_options", "choose", "find_backend", "open_backend", "usable"]

_ON_CPU = "device='cpu' (--device cpu)"


class Opened(NamedTuple):
    """An opened backend with its version, device and precision.

    Attributes:
        engine: runs the network.
        name: name of the backend.
        version: version of its library.
        device: device that it runs on.
        precision: precision that it computes in.
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


def backend_options() -> list[str]:
    """Return the names of all backend-specific options."""
    found = (names for backend in BACKENDS.values() for names in backend.options.values())
    return sorted({name for names in found for name in names})


def find_backend(name: str) -> type[EngineBackend]:
    """Return a registered backend.

    Raises:
        ConfigError: no backend has that name.
    """
    if name == "paddle-openvino":
        raise ConfigError(
            "the backend 'paddle-openvino' was removed: use openvino, which runs the file that "
            "`ppcls export --onnx` writes"
        )
    if name not in BACKENDS:
        hint = did_you_mean(name, BACKENDS)
        raise ConfigError(f"no such backend: {name!r}{hint}; known: {', '.join(BACKENDS)}")
    return BACKENDS[name]


def usable(folder: Path) -> dict[str, Capability]:
    """Return the backends that can run a bundle on this machine."""
    readers = {name: backend for name, backend in BACKENDS.items() if backend.can_read(folder)}
    found = {name: backend.capability() for name, backend in readers.items()}
    return {name: can for name, can in found.items() if can.precisions}


def _preferred(folder: Path, device: str, precision: str) -> list[str]:
    """Return the names of the backends that `auto` tries, in order."""
    found = [b for b in BACKENDS.values() if device in b.preference]
    found.sort(key=lambda backend: -backend.preference[device])
    names = [backend.name for backend in found]
    tuned = recall(folder, device, precision)
    return [tuned, *names] if tuned in BACKENDS else names


def choose(
    folder: Path, device: Device = "auto", precision: InferencePrecision = "fp32"
) -> tuple[str, str]:
    """Return the backend and the device that `auto` selects.

    It prefers the fastest backend from `ppcls benchmark --tune`, and otherwise the first usable one
    in the order of speed on our models.

    Raises:
        RunError: no installed backend can run the bundle on this device in this precision.
        BundleError: an installed one could, but the bundle lacks the file that it runs.
    """
    candidates = [
        (BACKENDS[name], where)
        for where in (("gpu", "cpu") if device == "auto" else (device,))
        for name in _preferred(folder, where, precision)
    ]
    for has_file in (True, False):
        for backend, where in candidates:
            # One after the other, as asking a backend may import its library.
            if backend.can_read(folder) is not has_file or precision not in (
                backend.capability().precisions.get(where, ())
            ):
                continue
            if has_file:
                return backend.name, where
            raise BundleError(
                f"{folder}: has no {' or '.join(backend.reads)}, which {backend.name}, installed "
                f"here, runs; export the model again with `{backend.remedy}`"
            )
    wanted = precision if device == "auto" else f"{precision} on {device}"
    paddle = BACKENDS["paddle"].capability()
    if device == "gpu" and "gpu" not in paddle.precisions:
        way_out = f"{paddle.hint}, or use {_ON_CPU}"
    else:
        way_out = "`ppcls backends` lists what each can do and how to install it"
    raise RunError(f"{folder}: no installed backend runs it in {wanted}; {way_out}")


def open_backend(
    name: str,
    folder: Path,
    *,
    device: Device = "auto",
    precision: InferencePrecision = "fp32",
    threads: int | None = None,
    **options: Any,
) -> Opened:
    """Return a backend by its name, ready to run a bundle.

    Args:
        name: a key of `BACKENDS`, or `auto`.
        folder: the bundle.
        device: `auto` takes a GPU if the backend can use one.
        precision: precision to compute in.
        threads: CPU threads of one inference; None is all cores.
        options: options of this backend alone.

    Raises:
        ConfigError: no such backend, precision or option.
        MissingDependencyError: the backend is not installed.
        RunError: the backend cannot use this device.
        BundleError: the bundle lacks the file that the backend runs.
    """
    where: str = device
    if name == "auto":
        name, where = choose(folder, device, precision)
    backend = find_backend(name)
    can = backend.capability()
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
        raise ConfigError("threads is an option for a CPU, but this runs on a GPU")
    for option in options:
        if option not in backend.options.get(where, ()):
            raise ConfigError(f"the backend {name} has no option {option!r} on this {where}")
    if where == "cpu":
        options["threads"] = threads = threads or core_count()
    engine = backend(folder, device=where, precision=precision, **options)
    return Opened(engine, name, can.version, where, precision, threads)
