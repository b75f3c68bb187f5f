"""The C++ program against `ppcls predict`: python benchmarks/cpp.py BUNDLE --program PROGRAM.

On the same backend and threads, in rounds that alternate between the two; medians:

- throughput: images per second from a folder of JPEGs, without the start. Above 1 is faster.
- start: seconds from the start of the program to the record of one image. Below 1 is shorter.
- memory: peak of the C++ program for some images and for many, in MiB. Both should be alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from predict import write_jpegs

from ppcls.benchmark.results import describe_machine

ROOT = Path(__file__).resolve().parents[1]

_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def seconds(command: Sequence[str], images: Sequence[str]) -> float:
    """Return how long a command takes to print the records of images."""
    start = perf_counter()
    subprocess.run(
        [*command, *images],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return perf_counter() - start


def peak_mib(command: Sequence[str], images: Sequence[str]) -> float:
    """Return the peak memory of a command, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *command, *images], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    """Measure, and print the medians and their ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--program", default=str(ROOT / "build/cpp/ppcls_predict"))
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--many", type=int, default=0, help="images of the memory measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the result to a file, too")
    args = parser.parse_args()
    options = ["--backend", args.backend, "--threads", str(args.threads), "--format", "jsonl"]
    cpp = [args.program, *options, args.bundle]
    python = [sys.executable, "-m", "ppcls", "predict", *options, args.bundle]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        folder.mkdir()
        write_jpegs(folder, args.images)
        one = [str(next(folder.iterdir()))]
        took: dict[str, list[float]] = {"cpp": [], "python": []}
        starts: dict[str, list[float]] = {"cpp": [], "python": []}
        for _ in range(args.rounds):
            for name, command in (("cpp", cpp), ("python", python)):
                starts[name].append(seconds(command, one))
                took[name].append(seconds(command, [str(folder)]))
        start = {name: median(values) for name, values in starts.items()}
        rate = {
            name: (args.images - 1) / (median(values) - start[name])
            for name, values in took.items()
        }
        result = {
            "machine": describe_machine(),
            "backend": args.backend,
            "threads": args.threads,
            "images_per_second": rate,
            "throughput_ratio": rate["cpp"] / rate["python"],
            "start_seconds": start,
            "start_ratio": start["cpp"] / start["python"],
        }
        if args.many:
            names = sorted(str(path) for path in folder.iterdir())
            listed = Path(temporary) / "many.txt"
            lines = (names[i % len(names)] for i in range(args.many))
            listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            result["peak_mib"] = {
                str(args.images): peak_mib(cpp, [str(folder)]),
                str(args.many): peak_mib(cpp, [str(listed)]),
            }
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        Path(args.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
