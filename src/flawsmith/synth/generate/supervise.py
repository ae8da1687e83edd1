"""The loop over workers that may die: hand out, watch, strike, retry, give up."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from flawsmith.core.errors import EnvironmentFault, FlawsmithError
from flawsmith.synth.generate.job import Limits, Outcome


@dataclass(frozen=True)
class Ready:
    """A worker has opened its job."""


@dataclass(frozen=True)
class Struck:
    """An item failed in a way that another try may mend: its worker died, ran too long or took too much memory."""

    reason: str
    alive: bool = False  # the worker itself can go on


@dataclass(frozen=True)
class Stopped:
    """A fault that every further item would meet as well, as a full disk."""

    error: FlawsmithError


News = Ready | Outcome | Struck | Stopped


class Worker(Protocol):
    """One process. `index`: the item in hand, None while starting or idle."""

    index: int | None
    ready: bool

    def give(self, index: int) -> None: ...
    def news(self, limits: Limits) -> News | None: ...
    def kill(self) -> None: ...


class Site(Protocol):
    """Where workers run."""

    def hire(self) -> Worker: ...
    def pause(self, workers: Sequence[Worker]) -> None:
        """Return when a worker may have news, and after a fraction of a second in any case."""
        ...


def supervise(site: Site, indices: Iterable[int], workers: int, limits: Limits) -> Iterator[Outcome]:
    """Every index once, in the order of completion. A dead worker costs its item a strike; the others go on.

    Raises what a `Stopped` carries, and `EnvironmentFault` when workers die before they can begin.
    """
    queue, strikes, false_starts = deque(indices), Counter[int](), 0
    crew: list[Worker] = []
    try:
        while queue or any(worker.index is not None for worker in crew):
            _fill(crew, site.hire, queue, workers)
            site.pause(crew)
            for worker in list(crew):
                index, news = worker.index, worker.news(limits)
                if isinstance(news, Stopped):
                    raise news.error
                if isinstance(news, Outcome):
                    yield news
                if not isinstance(news, Struck):
                    continue
                if not news.alive:
                    worker.kill()
                    crew.remove(worker)
                if index is None:
                    false_starts += 1
                    _check_starts(false_starts, limits, news.reason)
                    continue
                strikes[index] += 1
                if strikes[index] >= limits.strikes:
                    yield Outcome(index, error=f"{news.reason} ({strikes[index]} tries)")
                else:
                    queue.append(index)
    finally:
        for worker in crew:
            worker.kill()


def _fill(crew: list[Worker], hire: Callable[[], Worker], queue: deque[int], workers: int) -> None:
    """Replace the dead and hand out work; no more processes than items."""
    busy = sum(worker.index is not None for worker in crew)
    while len(crew) < min(workers, len(queue) + busy):
        crew.append(hire())
    for worker in crew:
        if queue and worker.ready and worker.index is None:
            worker.give(queue.popleft())


def _check_starts(false_starts: int, limits: Limits, reason: str) -> None:
    if false_starts >= limits.strikes:
        raise EnvironmentFault(
            f"workers end before their first image: {reason}; try --workers 1, or another --renderer"
        )
