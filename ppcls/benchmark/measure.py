"""How long networks take on this machine."""

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
    """What to measure: every combination.

    Attributes:
        backends, precisions, batch_sizes: those.
        device: where.
        threads: CPU threads; None is all cores.
        seconds: how long each is measured, after a warm-up; at least ten runs.
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
    """Return the millions of parameters and billions of multiply-accumulates of a bundle."""
    card, shape = spec.card, spec.Input.shape
    side = shape[2:4] if spec.Input.layout == "NCHW" else shape[1:3]
    if spec.Output.classes == 1000 and side == [card["input_size"]] * 2:
        return card["params"] / 1e6, card["macs"] / 1e9
    # The card is of 1000 classes and one size; for others the architecture is counted.
    from ppcls.models.cost import profile
    from ppcls.models.registry import create_model

    model = create_model(spec.Global.model_name, class_num=spec.Output.classes)
    params, macs = profile(model, [3, *side])
    return params / 1e6, macs / 1e9


def measure(folders: Sequence[Path], wanted: Wanted) -> Iterator[Row | str]:
    """Yield a row for each combination, as they are measured, or why there is none.

    Raises:
        BundleError: a folder is no bundle.
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
