"""A long job: items by number, made in processes that may die. What is made and where it runs are separate things."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, eq=False)
class Item:
    """What one number of a job gives.

    files: content by path in the output folder, "/" between folders
    row:   the item's record, plain enough for JSON
    """

    index: int
    files: Mapping[str, bytes]
    row: Mapping[str, Any] = field(default_factory=dict)


Make = Callable[[int], Item]


class Job(Protocol):
    """Crosses to a new process by pickle and is opened there once. `make(index)` depends on the job and index alone."""

    def open(self) -> Make: ...


@dataclass(frozen=True)
class Limits:
    """What one item may cost before its process is ended, and how often that may happen before it is given up.

    memory_mb: resident memory of a worker with its children
    start_seconds: for the imports and assets of a new worker
    """

    item_seconds: float = 600.0
    memory_mb: float = 8192.0
    strikes: int = 3
    start_seconds: float = 300.0


@dataclass(frozen=True)
class Outcome:
    """How an item ended: made, or given up for the reason in `error`; `mistake`: in what the user wrote."""

    index: int
    seconds: float = 0.0
    size: int = 0  # bytes on disk
    error: str = ""
    mistake: bool = False
