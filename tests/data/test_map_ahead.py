"""What threads compute ahead of their caller comes in order, within bounds, and ends with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ppcls.data.map_ahead import map_ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_and_errors_at_their_place(workers: int) -> None:
    def reciprocal(x: int) -> float:
        time.sleep(0.002 * (x % 3))
        return 1 / (x - 7)

    results = map_ahead(reciprocal, range(20), workers)
    assert [next(results) for _ in range(7)] == [1 / (x - 7) for x in range(7)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize(("workers", "ahead", "most"), [(0, None, 0), (2, None, 4), (2, 1, 1)])
def test_items_are_taken_in_bounded_number(workers: int, ahead: int | None, most: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for x in range(20):
            taken.append(x)
            yield x

    for done, _ in enumerate(map_ahead(str, items(), workers, ahead), start=1):
        assert len(taken) <= done + most
    assert done == 20


def test_closing_drops_what_has_not_begun_and_waits_for_what_has() -> None:
    begun, ended = [], []

    def work(x: int) -> int:
        begun.append(x)
        time.sleep(0.02)
        ended.append(x)
        return x

    before = threading.active_count()
    results = map_ahead(work, range(100), 1, ahead=50)
    assert next(results) == 0
    results.close()
    assert begun == ended
    assert len(begun) < 10
    assert threading.active_count() == before
