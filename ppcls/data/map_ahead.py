"""A `map` whose threads work a few results ahead of the caller."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_ahead"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_ahead(
    function: Callable[[ItemT], ResultT],
    items: Iterable[ItemT],
    workers: int,
    ahead: int | None = None,
) -> Generator[ResultT, None, None]:
    """Yield the function's results in the order of the items, computed ahead by threads.

    The iterator raises the function's errors in order. When it closes, on an error too, it drops
    calls that have not started and waits for the others.

    Args:
        function: several threads may call it at once.
        items: the caller's thread takes the next item when there is room.
        workers: number of threads; 0 computes each result on demand.
        ahead: how many results may wait or be in progress; None is two for each thread.
    """
    if not workers:
        yield from map(function, items)
        return
    ahead = 2 * workers if ahead is None else ahead
    waiting: deque[Future[ResultT]] = deque()
    pool = ThreadPoolExecutor(workers, "ppcls-map-ahead")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
