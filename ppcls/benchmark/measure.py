"""Measures inference times on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ppcls.benchmark.results import Row
from ppcls.bundle import BundleSpec, read_bundle
from ppcls.errors import PpclsError
from ppcls.inference.backends import open_backend
from ppcls.inference.types import Device, InferencePrecision

__all__ = ["Wanted", "measure", "time_runs"]

_WARMUP_RUNS = 3
_LEAST_RUNS = 10


class Wanted(NamedTuple):
    """The settings to measure, in every combination.

    Attributes:
        backends, precisions, batch_sizes: the values to combine.
        device: device to measure on.
        threads: CPU threads; None is all cores.
        seconds: measuring time for each combination after a warm-up; at least ten runs.
    """

    backends: Sequence[str]
    precisions: Sequence[InferencePrecision] = ("fp32",)
    batch_sizes: Sequence[int] = (1, 4, 8)
    device: Device = "auto"
    threads: int | None = None
    seconds: float = 2.0


def time_runs(run: Callable[[], object], seconds: float) -> np.ndarray:
    """Return the milliseconds of each run, float64 (runs,), after a warm-up; at least ten."""
    for _ in range(_WARMUP_RUNS):
        run()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < _LEAST_RUNS or perf_counter() < end:
        start = perf_counter()
        run()
        times.append((perf_counter() - start) * 1e3)
    return np.array(times)


def _cost(spec: BundleSpec) -> tuple[float, float]:
    """Return a bundle's parameters in millions and multiply-accumulates in billions."""
    card, shape = spec.card, spec.Input.shape
    image = shape[1:] if spec.Input.layout == "NCHW" else [shape[3], *shape[1:3]]
    if spec.Output.classes == 1000 and image == [3, *[card["input_size"]] * 2]:
        return card["params"] / 1e6, card["macs"] / 1e9
    # The card holds for 1000 classes, RGB and one size; for others, count the architecture.
    from ppcls.models.cost import profile
    from ppcls.models.registry import create_model

    model = create_model(
        spec.Global.model_name, class_num=spec.Output.classes, in_channels=image[0]
    )
    params, macs = profile(model, image)
    return params / 1e6, macs / 1e9


def measure(folders: Sequence[Path], wanted: Wanted) -> Iterator[Row | str]:
    """Yield a row for each combination as it is measured, or why it cannot be measured.

    Raises:
        BundleError: a folder is not a bundle.
    """
    rng = np.random.default_rng(0)
    for folder in folders:
        spec = read_bundle(folder)
        params, flops = _cost(spec)
        name = spec.Global.model_name
        for backend in wanted.backends:
            for precision in wanted.precisions:
                try:
                    opened = open_backend(
                        backend,
                        folder,
                        device=wanted.device,
                        precision=precision,
                        threads=wanted.threads,
                    )
                except PpclsError as error:
                    yield f"{name} with {backend} in {precision}: {error}"
                    continue
                for size in wanted.batch_sizes:
                    shape = (size, *spec.Input.shape[1:])
                    if spec.Input.dtype == "uint8":
                        batch = rng.integers(0, 256, shape, np.uint8)
                    else:
                        batch = rng.standard_normal(shape, np.float32)
                    times = time_runs(partial(opened.engine.run, batch), wanted.seconds)
                    median = float(np.median(times))
                    yield Row(
                        name,
                        params,
                        flops,
                        *opened[1:],
                        size,
                        median,
                        float(np.percentile(times, 95)),
                        size / median * 1e3,
                        len(times),
                    )
