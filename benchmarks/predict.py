"""The overhead of the predictor over its parts: python benchmarks/predict.py BUNDLE.

Two ratios of medians over rounds that alternate between the predictor and its parts:

- throughput: images per second of `Predictor` on a folder of JPEGs, against 1/(1/D + 1/B). D is the
  rate of decoding and preprocessing alone and B that of the backend alone, each with all cores.
  Work that shares the cores cannot be faster; the predictor should reach 0.9 of it.
- latency: `Predictor` on one decoded array, against the backend call and preprocessing alone. The
  predictor should take at most 1.05 of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import simplejpeg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppcls.benchmark.results import describe_machine
from ppcls.data import image
from ppcls.data.folders import find_images
from ppcls.devices import core_count
from ppcls.inference.backends import open_backend
from ppcls.inference.model_folder import read_facts
from ppcls.inference.predictor import Classifier


def write_jpegs(folder: Path, count: int) -> None:
    """Write JPEGs of 500x375 pixels, ImageNet's usual size, with structure at all scales."""
    rng = np.random.default_rng(0)
    for i in range(count):
        picture = np.zeros((375, 500, 3))
        for scale in (1, 5, 25, 125):
            coarse = rng.normal(size=(375 // scale + 1, 500 // scale + 1, 3))
            picture += np.kron(coarse, np.ones((scale, scale, 1)))[:375, :500] * scale**0.5
        picture = 128 + 24 * picture
        data = simplejpeg.encode_jpeg(np.clip(picture, 0, 255).astype(np.uint8), quality=90)
        (folder / f"{i:05d}.jpg").write_bytes(data)


def seconds(run: Callable[[], object]) -> float:
    """Return the duration of a call."""
    start = perf_counter()
    run()
    return perf_counter() - start


def main() -> int:
    """Measure both ratios and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of JPEGs (default: 256 generated)")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if args.images is None:
            write_jpegs(Path(made), 256)
        found = measure(args, find_images(args.images or Path(made)))
    print(json.dumps(found, indent=2))
    return 0


def measure(args: argparse.Namespace, paths: list[Path]) -> dict[str, object]:
    """Return the two ratios and their parts."""
    facts = read_facts(args.bundle)
    opened = open_backend(args.backend, args.bundle)
    # Open it as `Predictor` does, and let the parts use the same engine: two engines would evict
    # each other's weights from the caches.
    engine = opened.engine
    predictor = Classifier(
        engine,
        facts.pipeline,
        facts.labels,
        topk=facts.topk,
        threshold=facts.threshold,
        batch_size=args.batch_size,
        to_input=facts.to_input,
        gives_scores=facts.gives_scores,
        multi_label=facts.multi_label,
    )
    rng = np.random.default_rng(0)

    def load(source: object) -> np.ndarray:
        return facts.to_input(facts.pipeline(source, rng)[None])[0]

    pool = ThreadPoolExecutor(core_count())
    loaded = list(pool.map(load, paths))
    starts = range(0, len(paths), args.batch_size)
    batches = [np.stack(loaded[at : at + args.batch_size]) for at in starts]

    def decode_all() -> None:
        # In batches, so that the parts do the same work as the predictor.
        everything = list(pool.map(load, paths))
        for at in starts:
            np.stack(everything[at : at + args.batch_size])

    def compute_all() -> None:
        for batch in batches:
            engine.run(batch)

    whole, decoding, computing = [], [], []
    for _ in range(args.rounds + 1):
        decoding.append(seconds(decode_all))
        computing.append(seconds(compute_all))
        whole.append(seconds(lambda: list(predictor.predict(paths))))
    # The first round warms up.
    whole_s, decoding_s, computing_s = (
        float(np.median(times[1:])) for times in (whole, decoding, computing)
    )

    array = image.read(paths[0])
    one, bare = [], []
    for _ in range(60 * args.rounds):
        one.append(seconds(lambda: list(predictor.predict(array))))
        bare.append(seconds(lambda: engine.run(load(array)[None])))
    one_ms, bare_ms = (float(np.median(times[20:])) * 1e3 for times in (one, bare))
    count = len(paths)
    return {
        "machine": describe_machine(),
        "backend": str(opened),
        "batch_size": args.batch_size,
        "throughput": {
            "predictor_images_per_s": count / whole_s,
            "decode_and_preprocess_images_per_s": count / decoding_s,
            "backend_images_per_s": count / computing_s,
            "ratio": (decoding_s + computing_s) / whole_s,
        },
        "latency_batch_1": {
            "predictor_ms": one_ms,
            "parts_ms": bare_ms,
            "ratio": one_ms / bare_ms,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
