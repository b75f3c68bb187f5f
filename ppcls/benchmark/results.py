"""Results of a benchmark: a row for each measurement, and a description of the machine."""

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
        backend, version, device, precision, threads: the engine and its settings.
        batch_size: images in a batch.
        median_ms, p95_ms: median and 95th percentile of the time of a batch.
        images_per_s: throughput at the median.
        runs: number of measured runs.
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
    """Return the machine's processor, cores, system and versions, which affect measurements."""
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

    The latency over several batch sizes is the geometric mean of the medians.
    """
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        by_backend = times.setdefault((row.device, row.precision), {})
        by_backend.setdefault(row.backend, []).append(row.median_ms)
    return {
        where: min(found, key=lambda name: float(np.log(found[name]).mean()))
        for where, found in times.items()
    }
