"""What a benchmark finds: a row for each measurement, and the machine that it is of."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppcls.devices import core_count, cpu_name
from ppcls.inference.backends.base import installed_version

__all__ = ["Row", "describe_machine", "fastest"]


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        model: the architecture.
        params_m: millions of parameters.
        flops_g: billions of multiply-accumulates for one image.
        backend, version, device, precision, threads: what has run it, and how.
        batch_size: images at once.
        median_ms, p95_ms: time of a batch: half, and 95 of 100, took at most so long.
        images_per_s: at the median.
        runs: how many were measured.
    """

    model: str
    params_m: float
    flops_g: float
    backend: str
    version: str
    device: str
    precision: str
    threads: int | None
    batch_size: int
    median_ms: float
    p95_ms: float
    images_per_s: float
    runs: int


def describe_machine() -> dict[str, Any]:
    """Return what the measurements depend on: processor, cores, system, versions."""
    libraries = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "openvino", "numpy", "ppcls")
    versions = {name: installed_version(name) for name in libraries}
    return {
        "cpu": cpu_name(),
        "cores": core_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
    }


def fastest(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """Return the backend with the lowest latency for each device and precision.

    Over several batch sizes it is the geometric mean of the medians that counts.
    """
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        by_backend = times.setdefault((row.device, row.precision), {})
        by_backend.setdefault(row.backend, []).append(row.median_ms)
    return {
        where: min(found, key=lambda name: float(np.log(found[name]).mean()))
        for where, found in times.items()
    }
