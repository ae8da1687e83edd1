"""Work on many files at once: decoding leaves Python's lock, so threads suffice."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T], waiting: int = 256) -> Iterator[R]:
    """`function` of each item, in order; at most `waiting` items and results are held."""
    rest = iter(items)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(rest, waiting)):
            yield from pool.map(function, batch)
