"""The speed of image preprocessing and of the loader, compared with OpenCV's decoder.

The first table is for one core: decoding, the usual transforms for training (random crop to 224 and
flip) and for evaluation (short side to 256, centre crop 224), each with its rate and its ratio to
`cv2.imdecode`. The rows alternate image by image, and each counts its own processor time, so other
load on the machine hardly matters. The second table is for the loader: images per second of wall
time with 1, 2, … threads, and the resident memory after the first and the last epoch.

    python benchmarks/data.py                          # on generated images
    python benchmarks/data.py DIR --json data.json
    taskset -c 0 python benchmarks/data.py DIR         # keep to one core
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import simplejpeg

from ppcls.data import folders, image
from ppcls.data.datasets import ImageDataset
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedBatchSampler
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import (
    CropImage,
    DecodeImage,
    RandCropImage,
    RandFlipImage,
    ResizeImage,
)

TRAINING = [DecodeImage(), RandCropImage(size=224), RandFlipImage()]
EVALUATION = [DecodeImage(), ResizeImage(resize_short=256), CropImage(size=224)]


def write_pictures(folder: Path, count: int = 64) -> None:
    """Write JPEGs of 500x375, ImageNet's usual size, with the frequencies of photographs."""
    rng = np.random.default_rng(0)
    for i in range(count):
        picture = np.zeros((375, 500, 3), np.float32)
        for octave in range(7):
            noise = rng.normal(0, 1, (3 * 2**octave, 4 * 2**octave, 3)).astype(np.float32)
            picture += cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC) / 1.6**octave
        pixels = np.clip(128 + 45 * picture, 0, 255).astype(np.uint8)
        (folder / f"{i:03d}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, 92))


def worker(ops: Sequence[Any]) -> Callable[[bytes], np.ndarray]:
    """Return a worker's function: transform an image and copy it into the batch."""
    pipeline = Pipeline(ops)
    out = np.empty((224, 224, 3), np.uint8)

    def run(data: bytes) -> np.ndarray:
        out[...] = pipeline(data, np.random.default_rng((0, 1, len(data), 0)))
        return out

    return run


def one_core(files: Sequence[bytes], repeats: int) -> dict[str, float]:
    """Return images per second of processor time for each row."""
    buffers = {data: np.frombuffer(data, np.uint8) for data in files}
    rows: dict[str, Callable[[bytes], Any]] = {
        "cv2.imdecode": lambda data: cv2.imdecode(buffers[data], cv2.IMREAD_COLOR),
        "ppcls.data.image.read": image.read,
        "training transforms": worker(TRAINING),
        "evaluation transforms": worker(EVALUATION),
    }
    best: dict[str, list[float]] = {name: [float("inf")] * len(files) for name in rows}
    for _ in range(repeats):
        for i, data in enumerate(files):
            for name, run in rows.items():
                start = time.thread_time()
                run(data)
                best[name][i] = min(best[name][i], time.thread_time() - start)
    return {name: len(files) / sum(seconds) for name, seconds in best.items()}


def resident_mib() -> float:
    """Return the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def loader(paths: Sequence[Path], threads: int, epochs: int) -> tuple[float, float, float]:
    """Return the best epoch's images per second, and the MiB in use after first and last epoch."""
    samples = [Sample(str(path), 0) for path in paths]
    dataset = ImageDataset(samples, Pipeline(TRAINING))
    sampler = DistributedBatchSampler(batch_size=min(32, len(samples)), shuffle=True)
    rates, memory = [], []
    with Loader(dataset, sampler, threads) as batches:
        for epoch in range(epochs):
            start = time.perf_counter()
            count = sum(len(batch.labels) for batch in batches.epoch(epoch))
            rates.append(count / (time.perf_counter() - start))
            memory.append(resident_mib())
    return max(rates), memory[0], memory[-1]


def main() -> None:
    """Measure and print."""
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", metavar="DIR", help="images (default: 64 generated)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="best of N (5)")
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="for each loader (5)")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], metavar="N")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as made:
        if args.folder is None:
            write_pictures(Path(made))
        paths = folders.find_images(Path(args.folder or made))
        if not paths:
            sys.exit(f"{args.folder}: no images")
        rates = one_core([path.read_bytes() for path in paths], args.repeats)
        base = rates["cv2.imdecode"]
        print(f"{len(paths)} images\n\n| one core | images/s | ratio |\n|---|---|---|")
        for name, rate in rates.items():
            print(f"| {name} | {rate:.0f} | {rate / base:.2f} |")
        print("\n| loader threads | images/s | ratio | MiB after 1 epoch | after the last |")
        print("|---|---|---|---|---|")
        loaders = {}
        for threads in args.threads:
            rate, first, last = loader(paths, threads, args.epochs)
            loaders[threads] = {"rate": rate, "first_mib": first, "last_mib": last}
            ratio = rate / loaders[args.threads[0]]["rate"]
            print(f"| {threads} | {rate:.0f} | {ratio:.2f} | {first:.0f} | {last:.0f} |")
    if args.json:
        found = {"images": len(paths), "one_core": rates, "loader": loaders}
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
