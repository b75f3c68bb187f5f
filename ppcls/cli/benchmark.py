"""`ppcls benchmark`."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from ppcls.cli.options import Commands, UsageError, checked, positive
from ppcls.inference.types import Device, InferencePrecision
from ppcls.printable import say

_SECONDS = checked(float, lambda value: 0 < value < 3600, "a number of seconds")


def _bundles(models: list[str], backends: list[str] | None, stack: ExitStack) -> list[Path]:
    """Return folders of bundles; export named architectures temporarily, with untrained weights."""
    from ppcls.bundle import ONNX_FILE
    from ppcls.exporting.by_name import export_untrained
    from ppcls.inference.backends import find_backend

    # For some models, writing the ONNX file takes longer than the measurement.
    needs_onnx = not backends or any(ONNX_FILE in find_backend(b).reads for b in backends)
    folders = []
    for model in models:
        if Path(model).is_dir():
            folders.append(Path(model))
            continue
        say(f"exporting {model}", sys.stderr)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ppcls-"))) / model
        folders.append(export_untrained(model, folder, onnx=needs_onnx))
    return folders


def _benchmark(args: argparse.Namespace) -> int:
    from ppcls.benchmark.measure import Wanted, measure
    from ppcls.benchmark.report import Measured
    from ppcls.benchmark.results import Row, fastest
    from ppcls.inference.backends import find_backend, usable
    from ppcls.inference.fastest import remember

    for name in args.backends or ():
        find_backend(name)
    if args.tune and not all(Path(model).is_dir() for model in args.models):
        raise UsageError("--tune is for exported models: results are stored by model content")
    found = Measured([], [])
    with ExitStack() as stack:
        for folder in _bundles(args.models, args.backends, stack):
            wanted = Wanted(
                args.backends or list(usable(folder)),
                args.precision,
                sorted(set(args.batch_sizes)),
                args.device,
                args.threads,
                args.seconds,
            )
            rows = []
            for one in measure([folder], wanted):
                if isinstance(one, Row):
                    rows.append(one)
                    print(
                        f"{one.model}  {one.backend} {one.device} {one.precision}  batch "
                        f"{one.batch_size}  median {one.median_ms:.2f} ms  p95 {one.p95_ms:.2f} ms",
                        file=sys.stderr,
                    )
                else:
                    if one not in found.left_out:
                        found.left_out.append(one)
                    say(f"not measured: {one}", sys.stderr)
            found.rows.extend(rows)
            if args.tune:
                for (device, precision), backend in fastest(rows).items():
                    path = remember(folder, device, precision, backend)
                    say(f"{folder}: {backend} for {precision} on {device}, kept in {path}")
    if not found.rows:
        print("nothing could be measured", file=sys.stderr)
        return 1
    if args.json:
        print(found.json(), end="")
    elif not args.tune:
        print(found.markdown(), end="")
    if args.output:
        for path in found.write(Path(args.output)):
            say(f"written  {path}", sys.stderr)
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    benchmark = commands.add(
        "benchmark",
        _benchmark,
        "measure the latency of networks on this machine",
        """
        ppcls benchmark HarDNet39_ds HRNet_W18_C --output benchmark
        ppcls benchmark output/digits/inference --backends paddle onnxruntime --batch-sizes 1 32
        ppcls benchmark output/digits/inference --tune
        """,
    )
    benchmark.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="an exported model, or the name of an architecture, measured with untrained weights",
    )
    benchmark.add_argument(
        "--backends",
        nargs="+",
        metavar="NAME",
        help="names from `ppcls backends` (default: all that can run the model here)",
    )
    benchmark.add_argument(
        "--batch-sizes", nargs="+", type=positive, default=[1, 4, 8], metavar="N"
    )
    benchmark.add_argument(
        "--precision", nargs="+", choices=get_args(InferencePrecision), default=["fp32"]
    )
    benchmark.add_argument("--device", choices=get_args(Device), default="auto")
    benchmark.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: all cores)"
    )
    benchmark.add_argument(
        "--seconds",
        type=_SECONDS,
        default=2.0,
        metavar="S",
        help="duration of each measurement after a warm-up (default: 2; at least ten runs)",
    )
    benchmark.add_argument(
        "--output",
        metavar="DIR",
        help="write benchmark.md, .csv and .json, and latency against FLOPs and parameters as "
        "pictures",
    )
    benchmark.add_argument("--json", action="store_true", help="print a JSON object")
    benchmark.add_argument(
        "--tune",
        action="store_true",
        help="store the fastest backend in the user's cache, for `--backend auto` to use",
    )
