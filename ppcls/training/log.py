"""The logs of a run: lines of text, a progress bar, records in `metrics.jsonl`, VisualDL."""

from __future__ import annotations

import json
import math
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from ppcls.checkpoints.records import MetricsLine, record_of
from ppcls.data.image import as_rgb
from ppcls.errors import RunError
from ppcls.evaluation.results import Evaluation
from ppcls.files import open_log, read_regular, replacing
from ppcls.printable import printable
from ppcls.training.callbacks import Callback, TrainStep

if TYPE_CHECKING:
    from ppcls.training.train import Trainer

__all__ = ["METRICS_FILE", "MetricsFile", "ProgressBar", "TextLog", "VisualDL"]

METRICS_FILE = "metrics.jsonl"
_LARGEST_METRICS = 1 << 30


def _values(means: dict[str, float]) -> str:
    return ", ".join(f"{name}: {mean:.5f}" for name, mean in means.items())


def _resumes(trainer: Trainer) -> bool:
    progress = trainer.state.progress
    return progress.epoch > 0 or progress.step > 0


class TextLog(Callback):
    """Lines on the console and in `train.log`.

    On a terminal a progress bar replaces the lines of the steps, which go only to the file.
    """

    def __init__(self, folder: Path):
        self.path = folder / "train.log"
        self._terminal = sys.stderr.isatty()

    def on_start(self, trainer: Trainer) -> None:
        """Open the file; a resumed run appends to it."""
        self._file = open_log(self.path, append=_resumes(trainer))

    def _line(self, text: str, console: bool = True) -> None:
        text = printable(text)
        print(f"[{datetime.now():%Y/%m/%d %H:%M:%S}] {text}", file=self._file, flush=True)
        if console:
            tqdm.write(text, file=sys.stderr)

    def on_note(self, trainer: Trainer, text: str) -> None:
        """Write the line."""
        self._line(text)

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """Write the report of a step."""
        if step.report is None:
            return
        means, speed, memory = step.report
        # With a single loss term, show its name beside the total.
        terms = {trainer.loss_name: means["loss"]} if trainer.loss_name else {}
        means = {k: v for k, v in means.items() if k != "loss"} | terms | {"loss": means["loss"]}
        shown = memory if trainer.options.print_mem_info else {}
        self._line(
            f"[Train][Epoch {step.epoch}/{trainer.options.epochs}]"
            f"[Iter: {step.step}/{trainer.steps}]"
            f"lr({trainer.schedule.name}): {step.lr:.8f}, {_values(means)}, "
            f"batch_cost: {speed.batch_cost:.5f}s, reader_cost: {speed.reader_cost:.5f}s, "
            f"ips: {speed.ips:.5f} samples/s, eta: {timedelta(seconds=round(speed.eta))}"
            + "".join(f", {name}: {value:.0f} MB" for name, value in shown.items()),
            console=not self._terminal,
        )

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Write the result of an evaluation, and the best one so far."""
        best = trainer.state.progress.best_metric
        text = f"[Eval][Epoch {epoch}][Avg]{_values(found.means)} (best {found.metric}: {best:.5f})"
        self._line(text)
        if found.unreadable:
            self._line(f"{found.unreadable} unreadable images are counted as wrong")

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Write what ended the run, unless it completed, and close the file."""
        if hasattr(self, "_file"):
            if error is not None:
                self._line(f"stopped: {type(error).__name__}: {error}", console=False)
            elif trainer.warning:  # the command shows it in its summary
                self._line(f"warning: {trainer.warning}", console=False)
            self._file.close()


class ProgressBar(Callback):
    """A bar for the epoch, on a terminal."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """Count the step."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            about = f"epoch {step.epoch}/{trainer.options.epochs}"
            self._bar = tqdm(total=trainer.steps, initial=step.step, desc=about, leave=False)
        self._bar.update()
        if step.report:
            left = timedelta(seconds=round(step.report.speed.eta))
            self._bar.set_postfix_str(f"{_values(step.report.means)}, whole run done in {left}")
        if step.step == trainer.steps - 1:
            self._close()

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Remove the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _records(trainer: Trainer, step: TrainStep) -> dict[str, Any]:
    assert step.report is not None
    means, speed, memory = step.report
    place = {"epoch": step.epoch, "step": step.step, "lr": step.lr}
    return {**place, **means, **speed._asdict(), **memory}


class MetricsFile(Callback):
    """Writes `metrics.jsonl`: one JSON object a line for every report and every evaluation."""

    def __init__(self, folder: Path):
        self.path = folder / METRICS_FILE

    def on_start(self, trainer: Trainer) -> None:
        """Open the file; a resumed run keeps the records before its checkpoint."""
        progress = trainer.state.progress
        kept: list[str] = []
        if _resumes(trainer) and self.path.exists():
            # Later steps will be trained and recorded again.
            kept = _lines_before(self.path, progress.epoch, progress.step)
        with replacing(self.path) as file:
            file.write_text("".join(kept), encoding="utf-8")
        self._file = open_log(self.path, append=True)

    def _record(self, kind: str, **values: Any) -> None:
        print(json.dumps({"kind": kind, **values}), file=self._file, flush=True)

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """Record the report of a step."""
        if step.report:
            self._record("train", **_records(trainer, step))

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Record the means of an evaluation."""
        self._record("eval", epoch=epoch, **found.means)

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Close the file."""
        if hasattr(self, "_file"):
            self._file.close()


def _lines_before(path: Path, epoch: int, step: int) -> list[str]:
    """Return the records of the first `epoch` epochs and the `step` steps after them.

    A last line that is incomplete, as a kill leaves it, is left out.

    Raises:
        RunError: the file cannot be read, or another line is no record.
    """
    try:
        lines = read_regular(path, _LARGEST_METRICS).splitlines(keepends=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    kept = []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            record = record_of(MetricsLine, line)
        except ValueError as error:
            raise RunError(
                f"{path}:{number}: not a record of a run: {error}; delete the line, or move the "
                "file away"
            ) from None
        at = math.inf if record.step is None else record.step
        if record.epoch <= epoch or (record.epoch == epoch + 1 and at < step):
            kept.append(line.decode("utf-8"))
    return kept


class VisualDL(Callback):
    """Logs scalars, images of the first batch, and gradients for `visualdl --logdir`."""

    def __init__(self, folder: Path, gradients: bool = False):
        from visualdl import LogWriter  # takes half a second; other runs need not wait

        self._writer, self._gradients = LogWriter(logdir=str(folder)), gradients

    def _scalars(self, trainer: Trainer, kind: str, values: dict[str, float], at: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, at)

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """Log the report of a step, images of the first batch, and gradients once an epoch."""
        done = (step.epoch - 1) * trainer.steps + step.step + 1
        if step.report:
            self._scalars(trainer, "train", _records(trainer, step), done)
        if (step.epoch, step.step) == (1, 0) and step.update.batches:
            images = [as_rgb(each) for each in step.update.batches[0].images[:8]]
            self._writer.add_image("train/images", np.concatenate(images, axis=1), 0)
        if self._gradients and step.step == trainer.steps - 1:
            for name, parameter in trainer.state.model.named_parameters():
                if parameter.grad is not None:
                    values = parameter.grad.astype("float32").numpy().ravel()
                    self._writer.add_histogram(f"gradients/{name}", values, step.epoch, buckets=50)

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Log the means of an evaluation."""
        self._scalars(trainer, "eval", found.means, epoch * trainer.steps)

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Close the files."""
        self._writer.close()
