"""What a run says: lines on the console and in `train.log`, records in `metrics.jsonl`."""

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

import paddle
from tqdm import tqdm

from ppcls.data.loader import Batch
from ppcls.files import replacing

__all__ = ["RunLog", "Speed", "StepTimer", "Update", "peak_memory"]


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
            yield Update(update, samples)

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
        use_visualdl: bool = False,
        writes: bool = True,
    ):
        """Open the files; those of a resumed run go on after `epoch` epochs and `step` steps.

        With `use_visualdl`, the numbers of `metrics.jsonl` go to `folder/vdl` too, for
        `visualdl --logdir`. Of several processes one `writes`, the others say nothing.
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
        if use_visualdl:
            from visualdl import LogWriter  # half a second that other runs need not wait

            self._scalars = LogWriter(logdir=str(folder / "vdl"))

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

    def step(
        self, where: str, means: dict[str, float], speed: Speed, memory: dict[str, float]
    ) -> None:
        """Report a step: where the run stands, the means of the epoch so far, speed and memory."""
        values = ", ".join(f"{name}: {mean:.5f}" for name, mean in means.items())
        eta = timedelta(seconds=round(speed.eta))
        self.line(
            f"[Train]{where}, {values}, batch_cost: {speed.batch_cost:.5f}s, "
            f"reader_cost: {speed.reader_cost:.5f}s, ips: {speed.ips:.5f} samples/s, eta: {eta}"
            + "".join(f", {name}: {value:.0f} MB" for name, value in memory.items()),
            console=not self._terminal,
        )
        if self._bar is not None:
            self._bar.set_postfix_str(f"{values}, whole run done in {eta}")
