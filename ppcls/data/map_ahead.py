"""A map by threads that stay a little ahead of their caller."""

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
    """Yield what a function makes of items, in their order, computed by threads in advance.

    What the function raises is raised at its place. Closed or left at an error, the iterator drops
    what has not begun and waits for what has.

    Args:
        function: may be called by several threads at once.
        items: taken by the caller's thread, when there is room.
        workers: how many threads; 0 computes each result when it is asked for.
        ahead: how many results may wait or be under way; two for each thread where it is None.
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
