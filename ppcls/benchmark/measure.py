"""How long networks take on this machine: measured, described, and written as people read it."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ppcls.bundle import BundleSpec, read_bundle
from ppcls.devices import core_count, cpu_name
from ppcls.errors import PpclsError
from ppcls.files import replacing
from ppcls.inference.backends import Device, Precision, open_backend
from ppcls.inference.backends.base import installed
from ppcls.pictures.annotate import latency_scatter

__all__ = ["Measured", "Row", "Wanted", "describe_machine", "fastest", "measure", "time_runs"]

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
    precisions: Sequence[Precision] = ("fp32",)
    batch_sizes: Sequence[int] = (1, 4, 8)
    device: Device = "auto"
    threads: int | None = None
    seconds: float = 2.0


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
    versions = {name: installed(name) for name in libraries}
    return {
        "cpu": cpu_name(),
        "cores": core_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
    }


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


class Measured(NamedTuple):
    """All measurements, and what could not be measured."""

    rows: list[Row]
    left_out: list[str]

    def markdown(self) -> str:
        """Return tables in the form of the published ones: latency in ms by batch size."""
        sizes = sorted({row.batch_size for row in self.rows})
        heads = ["model", "params (M)", "FLOPs (G)", "backend"]
        heads += [f"{what}, batch {size} (ms)" for size in sizes for what in ("median", "p95")]
        lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for key, times in self._by_run().items():
            model, params, flops, backend = key
            cells = [model, f"{params:.2f}", f"{flops:.3f}", backend]
            for size in sizes:
                row = times.get(size)
                cells += [f"{row.median_ms:.2f}", f"{row.p95_ms:.2f}"] if row else ["", ""]
            lines.append("| " + " | ".join(cells) + " |")
        lines += ["", "FLOPs are multiply-accumulates for one image."]
        lines += [f"Not measured: {text}." for text in self.left_out]
        machine = describe_machine()
        cpu = f"{machine.pop('cpu')}, {machine.pop('cores')} cores"
        lines.append(f"Machine: {cpu}, {', '.join(f'{k} {v}' for k, v in machine.items())}.")
        return "\n\n".join(["\n".join(lines[:-1]).strip(), lines[-1]]) + "\n"

    def _by_run(self) -> dict[tuple[str, float, float, str], dict[int, Row]]:
        found: dict[tuple[str, float, float, str], dict[int, Row]] = {}
        for row in self.rows:
            threads = f", {row.threads} threads" if row.threads else ""
            how = f"{row.backend} {row.version}, {row.device} {row.precision}{threads}"
            key = (row.model, row.params_m, row.flops_g, how)
            found.setdefault(key, {})[row.batch_size] = row
        return found

    def json(self) -> str:
        """Return the machine, the rows and what is left out, as a JSON object."""
        rows = [asdict(row) for row in self.rows]
        found = {"machine": describe_machine(), "rows": rows, "not_measured": self.left_out}
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """Return the rows as a table with a line of headings."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write `benchmark.md`, `.csv` and `.json`, and latency against FLOPs and parameters.

        Raises:
            RunError: the folder cannot be written to.
        """
        written = []
        for kind, text in (("md", self.markdown()), ("csv", self.csv()), ("json", self.json())):
            written.append(folder / f"benchmark.{kind}")
            with replacing(written[-1]) as file:
                file.write_text(text, encoding="utf-8")
        for key, label in (("flops_g", "FLOPs (G)"), ("params_m", "parameters (M)")):
            written.append(folder / f"latency_{key.partition('_')[0]}.png")
            latency_scatter(self.rows, key, label, written[-1])
        return written


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
