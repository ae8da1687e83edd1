"""Work on many files at once: decoding leaves Python's lock, so threads suffice."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")


def in_threads(function: Callable[[T], R], items: Sequence[T], waiting: int = 256) -> Iterator[R]:
    """`function` of each item, in order; at most `waiting` results are held."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), waiting):
            yield from pool.map(function, items[start : start + waiting])
