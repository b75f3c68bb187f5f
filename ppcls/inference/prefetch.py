"""Images prepared by several threads ahead of the network, in order and in bounded number."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from ppcls.errors import ImageError

__all__ = ["Prepared", "ReadAhead", "prepare"]


class Prepared(NamedTuple):
    """An image as the network takes it, or why there is none; and the milliseconds it took."""

    source: Any
    image: np.ndarray | ImageError
    milliseconds: float


def prepare(load: Callable[[Any], np.ndarray], source: Any) -> Prepared:
    """Load one image, in the shape and dtype that `load` gives; a failure is an answer, too."""
    start = time.perf_counter()
    image: np.ndarray | ImageError
    try:
        image = load(source)
    except ImageError as error:
        image = error
    return Prepared(source, image, (time.perf_counter() - start) * 1e3)


class ReadAhead:
    """Takes sources from an iterable in a thread of its own, and loads them in those of a pool.

    Args:
        sources: what to load. The next one is asked for as soon as there is room.
        load: turns a source into an array, or raises `ImageError`.
        pool: where to load.
        ahead: how many images wait at most.
    """

    def __init__(
        self,
        sources: Iterable[Any],
        load: Callable[[Any], np.ndarray],
        pool: Executor,
        ahead: int,
    ):
        self._sources = sources
        self._load = load
        self._pool = pool
        self._ahead = ahead
        self._waiting: deque[Future[Prepared]] = deque()
        self._changed = threading.Condition()
        self._is_done = self._is_closed = False
        self._error: BaseException | None = None
        # A source that never gives its next image, such as a camera, must not keep the program.
        threading.Thread(target=self._feed, name="ppcls-read-ahead", daemon=True).start()

    def _feed(self) -> None:
        try:
            for source in self._sources:
                job = self._submit(source)
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._is_closed or len(self._waiting) < self._ahead
                    )
                    if self._is_closed:
                        job.cancel()
                        return
                    self._waiting.append(job)
                    self._changed.notify_all()
        except BaseException as error:  # raised where the answers are read
            self._error = error
        finally:
            with self._changed:
                self._is_done = True
                self._changed.notify_all()

    def _submit(self, source: Any) -> Future[Prepared]:
        if isinstance(source, (str, PathLike, bytes)):
            return self._pool.submit(prepare, self._load, source)
        # Anything else may be changed or closed once the next one has been asked for.
        done: Future[Prepared] = Future()
        done.set_result(prepare(self._load, source))
        return done

    def take(self, most: int, *, full: bool) -> list[Prepared]:
        """Return the next images, at most so many; an empty list after the last.

        Args:
            most: how many.
            full: wait until there are so many, instead of taking of those that are there as many
                as a power of two.

        Raises:
            BaseException: what the iterable of sources raised, after what came before it.
        """
        with self._changed:
            enough = most if full else 1
            self._changed.wait_for(lambda: self._is_done or len(self._waiting) >= enough)
            count = min(most, len(self._waiting))
            if count and not full:
                # Engines keep memory for every batch size that they have seen: let there be few.
                count = 1 << (count.bit_length() - 1)
            jobs = [self._waiting.popleft() for _ in range(count)]
            self._changed.notify_all()
        if not jobs and self._error is not None:
            raise self._error
        return [job.result() for job in jobs]

    def close(self) -> None:
        """Stop taking sources; those that wait are dropped."""
        with self._changed:
            self._is_closed = True
            for job in self._waiting:
                job.cancel()
            self._waiting.clear()
            self._changed.notify_all()
