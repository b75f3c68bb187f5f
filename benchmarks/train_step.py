"""The overhead of the trainer over the model, and of the loader over both.

    python benchmarks/train_step.py [--seconds 20] [--repeats 3]

For each setting, the script alternates between a bare loop (forward, loss, backward, step on
preloaded batches) and the trainer on the same batches; it reports images/s and the median ratio.
With JPEG files and the loader it then compares the trainer with 1 / (1 / loader + 1 / step), each
measured alone on the same cores. It prints a table, or JSON with `--json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("GLOG_minloglevel", "2")

import paddle

from ppcls.checkpoints.run_folder import run_folder
from ppcls.config import Config, load_config
from ppcls.data.loader import Batch, Loader
from ppcls.losses.base import weighted_sum
from ppcls.models.normalize import Normalize
from ppcls.training.log import MetricsFile, TextLog
from ppcls.training.run import Run, build_run, open_run_data
from ppcls.training.signals import StopRequest
from ppcls.training.timer import StepTimer
from ppcls.training.train import Trainer

SETTINGS = [
    (name, size, batch)
    for name in ("SqueezeNet1_1", "HarDNet39_ds")
    for size, batch in ((224, 8), (32, 64))
]


def write_jpegs(folder: Path, count: int, size: int) -> None:
    """Write JPEG files of random, photograph-like smooth content, and their list."""
    import cv2

    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        small = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = cv2.resize(small, (size * 5 // 4, size), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{i}.jpg"), image)
        lines.append(f"{i}.jpg {i % 10}\n")
    (folder / "list.txt").write_text("".join(lines))


def configuration(folder: Path, name: str, size: int, batch: int) -> Config:
    """Return the configuration of a run on the files of a folder."""
    text = f"""
Global:
  device: cpu
  image_shape: [3, {size}, {size}]
  eval_during_train: false
  output_dir: {folder}
Arch: {{name: {name}, class_num: 10}}
Optimizer: {{name: Momentum, lr: {{name: Constant, learning_rate: 0.001}}}}
DataLoader:
  Train:
    dataset:
      image_root: {folder}
      cls_label_path: {folder}/list.txt
      transform_ops:
        - DecodeImage:
        - RandCropImage: {{size: {size}}}
        - RandFlipImage: {{}}
        - NormalizeImage: {{}}
    sampler: {{batch_size: {batch}, shuffle: true, drop_last: true}}
    loader: {{num_workers: 2}}
"""
    path = folder / "config.yaml"
    path.write_text(text)
    return load_config(path)


class Preloaded:
    """A loader that repeats batches in memory."""

    def __init__(self, loader: Loader, batches: list[Batch], steps: int):
        self.dataset, self.sampler, self.unreadable = loader.dataset, loader.sampler, []
        self.batches, self.steps = batches, steps

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch except the first `skip`."""
        for i in range(skip, self.steps):
            yield self.batches[i % len(self.batches)]


class Bench:
    """One setting: a run, and an equivalent bare loop."""

    def __init__(self, run: Run):
        self.run = run
        self.batch = run.loader.sampler.batch_size
        self.loss = weighted_sum(run.config.Loss.Train)
        self.normalize = Normalize(run.loader.dataset.pipeline.affine)
        self.preloaded = [batch for batch, _ in zip(run.loader.epoch(1), range(4), strict=False)]

    def bare(self, steps: int) -> float:
        """Return images/s of a hand-written loop."""
        model, optimizer = self.run.state.model, self.run.state.optimizer
        model.train()
        optimizer.set_lr(0.001)
        start = time.perf_counter()
        for i in range(steps):
            batch = self.preloaded[i % len(self.preloaded)]
            images = self.normalize(paddle.to_tensor(batch.images))
            loss = self.loss(model(images), paddle.to_tensor(batch.labels))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        loss.numpy()
        return steps * self.batch / (time.perf_counter() - start)

    def trainer(self, loader: Any) -> float:
        """Return images/s of the trainer over an epoch of a loader."""
        run = replace(self.run, loader=loader)
        run.state.progress.step = 0
        folder = run_folder(run.config)
        folder.path.mkdir(exist_ok=True)
        with (
            StopRequest() as stop,
            open(os.devnull, "w") as nowhere,
            redirect_stderr(nowhere),
        ):
            trainer = Trainer(run, folder, stop, [TextLog(folder.path), MetricsFile(folder.path)])
            for callback in trainer.callbacks:
                callback.on_start(trainer)
            timer = StepTimer(len(loader))
            start = time.perf_counter()
            trainer.train_epoch(1, timer)
            seconds = time.perf_counter() - start
            for callback in trainer.callbacks:
                callback.on_end(trainer, None)
            return len(loader) * self.batch / seconds

    def reading(self) -> float:
        """Return images/s of the loader alone."""
        start = time.perf_counter()
        count = sum(len(batch.labels) for batch in self.run.loader.epoch(2))
        return count / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="such as SqueezeNet1_1 or HarDNet39_ds_32")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for arch, size, batch in SETTINGS:
            folder = Path(name) / f"{arch}_{size}"
            if not folder.name.startswith(args.only):
                continue
            folder.mkdir()
            write_jpegs(folder, max(8 * batch, 256), max(size * 2, 128))
            config = configuration(folder, arch, size, batch)
            with ExitStack() as stack:
                run = build_run(open_run_data(config, "cpu", stack))
                bench, loader = Bench(run), run.loader
                rate = bench.bare(4)
                steps = max(10, int(args.seconds * rate / batch))
                ratios, bare, ours = [], [], []
                for _ in range(args.repeats):
                    bare.append(bench.bare(steps))
                    ours.append(bench.trainer(Preloaded(loader, bench.preloaded, steps)))
                    ratios.append(ours[-1] / bare[-1])
                reading = statistics.median(bench.reading() for _ in range(args.repeats))
                whole = [bench.trainer(loader) for _ in range(args.repeats)]
                step = statistics.median(bare)
                bound = 1 / (1 / reading + 1 / step)
                rows.append(
                    {
                        "model": arch,
                        "size": size,
                        "batch": batch,
                        "bare": step,
                        "trainer": statistics.median(ours),
                        "trainer / bare": statistics.median(ratios),
                        "loader": reading,
                        "with loader": statistics.median(whole),
                        "with loader / bound": statistics.median(whole) / bound,
                    }
                )
                if not args.json:
                    row = rows[-1]
                    if len(rows) == 1:
                        print(" | ".join(row))
                    texts = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()]
                    print(" | ".join(texts), flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
