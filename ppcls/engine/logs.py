"""What a run says: lines on the console and in `train.log`, records in `metrics.jsonl`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tqdm import tqdm

from ppcls.data.loader import Batch

__all__ = ["RunLog", "Speed", "StepTimer"]


class Speed(NamedTuple):
    """Means since the last report, in seconds and samples a second; `eta` is for the whole run."""

    batch_cost: float
    reader_cost: float
    ips: float
    eta: float


class StepTimer:
    """Times steps and the wait for their batches."""

    def __init__(self, total_steps: int):
        self._left = total_steps
        self._done = 0
        self._start = time.perf_counter()
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_start = time.perf_counter()
        self._steps, self._samples, self._reading = 0, 0, 0.0

    def batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, timing how long each is waited for."""
        self._begin_window()
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            if batch is None:
                return
            self._reading += time.perf_counter() - asked
            self._steps += 1
            self._samples += len(batch.labels)
            yield batch

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


def _epoch(line: str) -> float:
    """Return the epoch of a record; a line that a killed run has not finished has none."""
    try:
        return json.loads(line)["epoch"]
    except ValueError:
        return math.inf


class RunLog:
    """The log of one training run, written to its folder.

    On a terminal a progress bar stands for the lines of the steps, which go to `train.log` alone.
    """

    def __init__(self, folder: Path, done: int = 0, use_visualdl: bool = False):
        """Open the files; those of a resumed run go on after the `done` epochs.

        With `use_visualdl`, the numbers of `metrics.jsonl` go to `folder/vdl` too, for
        `visualdl --logdir`.
        """
        self.metrics_path = folder / "metrics.jsonl"
        kept = []
        if done and self.metrics_path.is_file():
            lines = self.metrics_path.read_text(encoding="utf-8").splitlines(keepends=True)
            # What was trained after the checkpoint will be trained again.
            kept = [line for line in lines if _epoch(line) <= done]
        self._text = (folder / "train.log").open("a" if done else "w", encoding="utf-8")
        self._metrics = self.metrics_path.open("w", encoding="utf-8")
        self._metrics.writelines(kept)
        self._scalars = None
        if use_visualdl:
            from visualdl import LogWriter  # half a second that other runs need not wait

            self._scalars = LogWriter(logdir=str(folder / "vdl"))
        self._records = 0
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm | None = None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end_bar()
        if error is not None:
            self.line(f"stopped: {kind.__name__ if kind else ''}: {error}", console=False)
        self._text.close()
        self._metrics.close()
        if self._scalars:
            self._scalars.close()

    def line(self, text: str, console: bool = True) -> None:
        """Write a line to `train.log`, and to the console."""
        print(f"[{datetime.now():%Y/%m/%d %H:%M:%S}] {text}", file=self._text, flush=True)
        if console:
            tqdm.write(text, file=sys.stderr)

    def record(self, kind: str, **values: float) -> None:
        """Write one JSON object to `metrics.jsonl`, and its numbers to VisualDL."""
        print(json.dumps({"kind": kind, **values}), file=self._metrics, flush=True)
        self._records += 1
        if self._scalars:
            for name, value in values.items():
                self._scalars.add_scalar(f"{kind}/{name}", value, self._records)

    def begin_bar(self, epoch: int, epochs: int, steps: int) -> None:
        """Show an epoch's progress, on a terminal."""
        if self._terminal:
            self._bar = tqdm(total=steps, desc=f"epoch {epoch}/{epochs}", leave=False)

    def advance_bar(self) -> None:
        """Count a step on the progress bar."""
        if self._bar is not None:
            self._bar.update()

    def end_bar(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def step(self, where: str, means: dict[str, float], speed: Speed) -> None:
        """Report a step: where the run stands, the means of the epoch so far, and the speed."""
        values = ", ".join(f"{name}: {mean:.5f}" for name, mean in means.items())
        eta = timedelta(seconds=round(speed.eta))
        self.line(
            f"[Train]{where}, {values}, batch_cost: {speed.batch_cost:.5f}s, "
            f"reader_cost: {speed.reader_cost:.5f}s, ips: {speed.ips:.5f} samples/s, eta: {eta}",
            console=not self._terminal,
        )
        if self._bar is not None:
            self._bar.set_postfix_str(f"{values}, whole run done in {eta}")
