"""Is a data set fit to train on? A quick look before every run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from ppcls.data.image import read_header
from ppcls.data.lists import Sample, raise_problems
from ppcls.errors import ImageError

__all__ = ["DataSource", "quick_check"]

_HEADERS, _HEADER_SECONDS = 1000, 0.3


class DataSource(Protocol):
    """What the options of a data set can do."""

    @property
    def on_error(self) -> Literal["error", "skip", "wrong"]:
        """What becomes of a sample that cannot be read."""

    def scan(self, class_num: int) -> tuple[list[Sample], list[str]]:
        """Return the samples that are right, and what is wrong with the others."""


def quick_check(parts: Mapping[str, DataSource], class_num: int) -> None:
    """Look at what a run is going to read: every line of the lists, and the headers of some images.

    A label out of range, a missing file, and an image without a header that is one (unless the
    data set goes on after errors) are problems. At most a thousand images of each part, spread over
    it, are opened, for at most 0.3 s.

    Raises:
        DataError: the first ten problems, one a line.
    """
    problems = []
    for part in parts.values():
        samples, wrong = part.scan(class_num)
        problems += wrong
        if part.on_error == "error":
            problems += _header_problems(samples)
    raise_problems(problems)


def _header_problems(samples: Sequence[Sample]) -> list[str]:
    count = min(_HEADERS, len(samples))
    chosen = np.unique(np.linspace(0, len(samples) - 1, count).astype(int))
    problems = []
    end = time.perf_counter() + _HEADER_SECONDS
    # In an order that covers the whole list however early the time is up.
    for index in np.random.default_rng(0).permutation(chosen).tolist():
        try:
            read_header(samples[index].path)
        except ImageError as error:
            problems.append(str(error))
        if time.perf_counter() > end:
            break
    return sorted(problems)
