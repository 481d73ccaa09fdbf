"""Prepare the next items in threads while the current one is in use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def read_ahead(
    items: Iterable[Item], prepare: Callable[[Item], Prepared], threads: int = 1
) -> Iterator[tuple[Item, Prepared]]:
    """Yield each item with the result of `prepare`, which runs in threads, one item ahead for each thread."""
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[Item, Future[Prepared]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(prepare, item)))
            if len(waiting) > threads:
                first, prepared = waiting.popleft()
                yield first, prepared.result()
        while waiting:
            item, prepared = waiting.popleft()
            yield item, prepared.result()
    finally:  # do not wait for threads: if garbage collection ends the generator while a thread starts, both would hang
        pool.shutdown(wait=False, cancel_futures=True)
