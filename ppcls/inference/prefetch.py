"""Prefetching: several threads prepare a bounded number of images ahead of the network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from queue import Queue
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ppcls.errors import ImageError

__all__ = ["LoadedImage", "load_image", "prefetch"]

Load = Callable[[Any], np.ndarray]


class LoadedImage(NamedTuple):
    """An image as the network's input, or an error; and the milliseconds that it took."""

    source: Any
    image: np.ndarray | ImageError
    milliseconds: float


def load_image(load: Load, source: Any) -> LoadedImage:
    """Load one image, with the shape and dtype that `load` gives, or return its error."""
    start = perf_counter()
    image: np.ndarray | ImageError
    try:
        image = load(source)
    except ImageError as error:
        image = error
    return LoadedImage(source, image, (perf_counter() - start) * 1e3)


def prefetch(
    load: Load, sources: Iterable[Any], workers: int, batch_size: int, *, fill: bool
) -> Iterator[list[LoadedImage]]:
    """Yield batches of loaded images; at most two batches wait.

    A separate thread reads the sources, so waiting for a camera's next frame delays no result.

    Args:
        load: turns a source into an array, or raises `ImageError`.
        sources: the sources to load.
        workers: number of threads that load paths and encoded images.
        batch_size: maximum number of images in a batch.
        fill: wait for full batches, instead of taking the images that are ready.

    Raises:
        BaseException: an error of the iterable of sources, after the images before it.
    """
    waiting: Queue[Future[LoadedImage] | None] = Queue(2 * batch_size)
    is_closed = threading.Event()
    failures: list[BaseException] = []
    pool = ThreadPoolExecutor(workers, "ppcls-load")

    def feed() -> None:
        try:
            for source in sources:
                if isinstance(source, (str, PathLike, bytes)):
                    job = pool.submit(load_image, load, source)
                else:
                    # The caller may change or close it after the next one is requested.
                    job = Future()
                    job.set_result(load_image(load, source))
                waiting.put(job)
                if is_closed.is_set():
                    return
        except BaseException as error:  # raised again where the results are read
            failures.append(error)
        finally:
            waiting.put(None)

    # A source that blocks forever, such as a camera, must not keep the program running.
    threading.Thread(target=feed, name="ppcls-prefetch", daemon=True).start()
    try:
        job = waiting.get()
        while job:
            jobs = [job]
            ready = batch_size if fill else min(batch_size, 1 + waiting.qsize())
            # Engines keep memory for every batch size that they have seen, so use few sizes.
            count = ready if fill else 1 << (ready.bit_length() - 1)
            while len(jobs) < count and (job := waiting.get()):
                jobs.append(job)
            yield [each.result() for each in jobs]
            job = job and waiting.get()
        if failures:
            raise failures[0]
    finally:
        is_closed.set()
        while not waiting.empty():
            waiting.get_nowait()
        pool.shutdown(cancel_futures=True)
