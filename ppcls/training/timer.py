"""Measures a run's speed and memory."""

from __future__ import annotations

import itertools
import resource
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import paddle

from ppcls.data.loader import Batch

__all__ = ["Speed", "StepTimer", "Update", "peak_memory"]


class Speed(NamedTuple):
    """Means since the last report, in seconds and samples a second; `eta` is for the whole run."""

    batch_cost: float
    reader_cost: float
    ips: float
    eta: float


class Update(NamedTuple):
    """The batches of one update, and their total number of samples."""

    batches: list[Batch]
    samples: int


class StepTimer:
    """Times steps and the wait for their batches.

    Args:
        total_steps: number of steps left in the run.
        processes: number of processes that train together.
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
        """Yield updates of `batches_each` batches, and time the wait for them.

        The last update of an epoch may have fewer batches.
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
            # Skip a batch without a readable image.
            yield Update([batch for batch in update if len(batch.labels)], samples)

    def report(self) -> Speed:
        """Return the speed since the last report, and restart the measurement."""
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
    """Return the peak memory of the process so far, in MiB.

    On a GPU: `max_mem_reserved` and `max_mem_allocated` of the device; otherwise
    `max_mem_resident`.
    """
    if paddle.device.get_device().startswith("gpu"):
        cuda = paddle.device.cuda
        return {
            "max_mem_reserved": cuda.max_memory_reserved() / 2**20,
            "max_mem_allocated": cuda.max_memory_allocated() / 2**20,
        }
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"max_mem_resident": kibibytes / 1024}
