"""What a run reports: lines on the console and in `train.log`, records in `metrics.jsonl`."""

from __future__ import annotations

import itertools
import json
import math
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor
from tqdm import tqdm

from ppcls.data.loader import Batch
from ppcls.files import replacing

__all__ = ["RunLog", "Speed", "StepReport", "StepTimer", "Update", "peak_memory"]


class Speed(NamedTuple):
    """Means since the last report, in seconds and samples a second; `eta` is for the whole run."""

    batch_cost: float
    reader_cost: float
    ips: float
    eta: float


class Update(NamedTuple):
    """The batches whose gradients make up one update, and how many samples they have together."""

    batches: list[Batch]
    samples: int


class StepTimer:
    """Times steps and the wait for their batches.

    Args:
        total_steps: that the run has left.
        processes: that do the same at the same time.
    """

    def __init__(self, total_steps: int, processes: int = 1):
        self._left = total_steps
        self._processes = processes
        self._done = 0
        self._start = time.perf_counter()
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_start = time.perf_counter()
        self._steps, self._samples, self._reading = 0, 0, 0.0

    def updates(self, batches: Iterable[Batch], batches_each: int) -> Iterator[Update]:
        """Yield the batches, so many at a time, timing how long they are waited for.

        The last update of an epoch may have fewer.
        """
        self._begin_window()
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            update = list(itertools.islice(iterator, batches_each))
            if not update:
                return
            self._reading += time.perf_counter() - asked
            samples = sum(len(batch.labels) for batch in update)
            self._steps += 1
            self._samples += samples * self._processes
            # A batch none of whose images can be read has nothing to train on.
            yield Update([batch for batch in update if len(batch.labels)], samples)

    def report(self) -> Speed:
        """Return the speed since the last report and begin to measure anew."""
        now, steps = time.perf_counter(), max(1, self._steps)
        elapsed = now - self._window_start
        self._done += self._steps
        self._left -= self._steps
        speed = Speed(
            elapsed / steps,
            self._reading / steps,
            self._samples / elapsed,
            (now - self._start) / max(1, self._done) * self._left,
        )
        self._begin_window()
        return speed


class StepReport(NamedTuple):
    """The report of a step: its epoch (from 1), means, learning rate, speed and memory.

    `means` are the epoch's so far: top-k hits, single losses, and the whole `loss` last.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    schedule: str
    lr: float
    means: dict[str, float]
    speed: Speed
    memory: dict[str, float]


def _values(means: dict[str, float]) -> str:
    return ", ".join(f"{name}: {mean:.5f}" for name, mean in means.items())


def _step_line(report: StepReport) -> str:
    speed = report.speed
    memory = "".join(f", {name}: {value:.0f} MB" for name, value in report.memory.items())
    return (
        f"[Train][Epoch {report.epoch}/{report.epochs}][Iter: {report.step}/{report.steps}]"
        f"lr({report.schedule}): {report.lr:.8f}, {_values(report.means)}, "
        f"batch_cost: {speed.batch_cost:.5f}s, reader_cost: {speed.reader_cost:.5f}s, "
        f"ips: {speed.ips:.5f} samples/s, eta: {timedelta(seconds=round(speed.eta))}{memory}"
    )


def peak_memory() -> dict[str, float]:
    """Return the most memory that the process has used so far, in MiB.

    On a GPU `max_mem_reserved` and `max_mem_allocated` of the device; else `max_mem_resident`.
    """
    if paddle.device.get_device().startswith("gpu"):
        cuda = paddle.device.cuda
        return {
            "max_mem_reserved": cuda.max_memory_reserved() / 2**20,
            "max_mem_allocated": cuda.max_memory_allocated() / 2**20,
        }
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"max_mem_resident": kibibytes / 1024}


def _is_before(line: str, epoch: int, step: int) -> bool:
    """Whether a record is of the first `epoch` epochs or the `step` steps after them.

    A line that a killed run has not finished is not.
    """
    try:
        record = json.loads(line)
    except ValueError:
        return False
    place = record["epoch"], record.get("step", math.inf)
    return place[0] <= epoch or (place[0] == epoch + 1 and place[1] < step)


class RunLog:
    """The log of one training run, written to its folder.

    On a terminal a progress bar stands for the lines of the steps, which go to `train.log` alone.
    """

    def __init__(
        self,
        folder: Path,
        epoch: int = 0,
        step: int = 0,
        visualdl: Path | None = None,
        writes: bool = True,
    ):
        """Open the files; those of a resumed run continue after `epoch` epochs and `step` steps.

        The numbers of `metrics.jsonl` go to the folder `visualdl` too, for `visualdl --logdir`.
        Of several processes one `writes`; the others are silent.
        """
        self._terminal = writes and sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._writes = writes
        self._scalars = None
        self._records = 0
        if not writes:
            return
        self.metrics_path = folder / "metrics.jsonl"
        resumed = epoch > 0 or step > 0
        kept = []
        if resumed and self.metrics_path.is_file():
            lines = self.metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
            # What was trained after the checkpoint will be trained again.
            kept = [line for line in lines if _is_before(line, epoch, step)]
        with replacing(self.metrics_path) as file:
            file.write_text("".join(kept), encoding="utf-8")
        self._text = (folder / "train.log").open("a" if resumed else "w", encoding="utf-8")
        self._metrics = self.metrics_path.open("a", encoding="utf-8")
        if visualdl:
            from visualdl import LogWriter  # half a second that other runs need not wait

            self._scalars = LogWriter(logdir=str(visualdl))
        self._records = len(kept)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end_bar()
        if not self._writes:
            return
        if error is not None:
            self.line(f"stopped: {kind.__name__ if kind else ''}: {error}", console=False)
        self._text.close()
        self._metrics.close()
        if self._scalars:
            self._scalars.close()

    def line(self, text: str, console: bool = True) -> None:
        """Write a line to `train.log`, and to the console."""
        if not self._writes:
            return
        print(f"[{datetime.now():%Y/%m/%d %H:%M:%S}] {text}", file=self._text, flush=True)
        if console:
            tqdm.write(text, file=sys.stderr)

    def record(self, kind: str, **values: float) -> None:
        """Write one JSON object to `metrics.jsonl`, and its numbers to VisualDL."""
        if not self._writes:
            return
        print(json.dumps({"kind": kind, **values}), file=self._metrics, flush=True)
        self._records += 1
        if self._scalars:
            for name, value in values.items():
                self._scalars.add_scalar(f"{kind}/{name}", value, self._records)

    def images(self, images: np.ndarray) -> None:
        """Show the first images of a batch, uint8 (N, H, W, 3), in VisualDL, side by side."""
        if self._scalars:
            self._scalars.add_image("train/images", np.concatenate(list(images[:8]), axis=1), 0)

    def gradients(self, epoch: int, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Show the distribution of every parameter's gradient in VisualDL: any shape, float."""
        if not self._scalars:
            return
        for name, parameter in parameters:
            if parameter.grad is not None:
                values = parameter.grad.astype("float32").numpy().ravel()
                self._scalars.add_histogram(f"gradients/{name}", values, epoch, buckets=50)

    def begin_bar(self, epoch: int, epochs: int, steps: int, done: int = 0) -> None:
        """Show an epoch's progress, on a terminal."""
        if self._terminal:
            self._bar = tqdm(total=steps, initial=done, desc=f"epoch {epoch}/{epochs}", leave=False)

    def advance_bar(self) -> None:
        """Count a step on the progress bar."""
        if self._bar is not None:
            self._bar.update()

    def end_bar(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def step(self, report: StepReport) -> None:
        """Report a step: where the run stands, the means of the epoch so far, speed and memory."""
        self.line(_step_line(report), console=not self._terminal)
        if self._bar is not None:
            left = timedelta(seconds=round(report.speed.eta))
            self._bar.set_postfix_str(f"{_values(report.means)}, whole run done in {left}")

    def evaluation(self, epoch: int, means: dict[str, float], best: str) -> None:
        """Report an evaluation after an epoch (counted from 1), and the best one so far."""
        self.line(f"[Eval][Epoch {epoch}][Avg]{_values(means)} ({best})")
