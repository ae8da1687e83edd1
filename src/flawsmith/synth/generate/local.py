"""Workers on this machine: processes made by spawn, each the head of a group of its own, so that all of it can end."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from flawsmith.core.errors import ConfigError, EnvironmentFault, FlawsmithError
from flawsmith.synth.generate.job import Item, Job, Limits, Make, Outcome
from flawsmith.synth.generate.supervise import News, Ready, Stopped, Struck, Worker

POLL_SECONDS = 0.1
_spawn = multiprocessing.get_context("spawn")
Save = Callable[[Item], int]


@dataclass(frozen=True)
class LocalSite:
    """Spawned processes. `save` stores an item in the worker and says how many bytes it took; it crosses by pickle."""

    job: Job
    save: Save

    def hire(self) -> "Process":
        return Process(self.job, self.save)

    def pause(self, workers: Sequence[Worker]) -> None:
        links: list[Any] = [worker.link for worker in workers if isinstance(worker, Process)]
        connection.wait(links, POLL_SECONDS)


class Process:
    """One spawned worker and the pipe to it."""

    def __init__(self, job: Job, save: Save) -> None:
        self.link, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=_serve, args=(job, save, theirs), daemon=False)
        self.process.start()
        theirs.close()  # else the end of the worker would not end the pipe
        self.ready, self.index = False, None
        self.since = time.monotonic()

    def give(self, index: int) -> None:
        self.index, self.since = index, time.monotonic()
        with contextlib.suppress(OSError):  # dead already: news() says so
            self.link.send(index)

    def news(self, limits: Limits) -> News | None:
        if self.link.poll():
            try:
                news = self.link.recv()
            except (EOFError, OSError):
                return Struck(self._end())
            self.ready, self.index = True, None
            return news
        if not self.process.is_alive():
            return Struck(self._end())
        return self._over(limits)

    def kill(self) -> None:
        pid = self.process.pid
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid and hasattr(os, "killpg") and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.link.close()

    def _over(self, limits: Limits) -> Struck | None:
        """Whether the worker has passed a limit; an idle one has none on its time."""
        seconds = time.monotonic() - self.since
        most = limits.item_seconds if self.ready else limits.start_seconds
        if (self.index is not None or not self.ready) and seconds > most:
            return Struck(f"took longer than {most:g} s")
        used = memory_mb(self.process.pid or 0)
        return (
            Struck(f"took {used:.0f} MB of memory, more than {limits.memory_mb:g}") if used > limits.memory_mb else None
        )

    def _end(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its descendants; 0 where the system has no /proc."""
    total, pids = 0.0, [pid]
    while pids:
        folder = Path("/proc", str(pids.pop()))
        with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
            total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            for task in (folder / "task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return total


def attempt(make: Make, index: int) -> Item | Struck | Stopped | Outcome:
    """One item, or what became of it. An error that would only repeat itself is an outcome, not a strike."""
    try:
        return make(index)
    except MemoryError:
        return Struck("ran out of memory", alive=True)
    except EnvironmentFault as fault:
        return Stopped(fault)
    except FlawsmithError as error:
        return Outcome(index, error=str(error), mistake=isinstance(error, ConfigError))
    except Exception as error:  # noqa: BLE001 - one item's failure is recorded with its place and must not end the run
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Outcome(index, error=f"{type(error).__name__} at {where}: {error}")


def _serve(job: Job, save: Save, link: connection.Connection) -> None:
    """The worker: open the job, then make what is asked for until the pipe ends."""
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        make = job.open()
    except FlawsmithError as error:
        link.send(Stopped(error))
        return
    link.send(Ready())
    with contextlib.suppress(EOFError):
        while True:
            link.send(_served(make, save, link.recv()))


def _served(make: Make, save: Save, index: int) -> News:
    start = time.perf_counter()
    item = attempt(make, index)
    if not isinstance(item, Item):
        return item
    try:
        size = save(item)
    except EnvironmentFault as fault:
        return Stopped(fault)
    return Outcome(index, time.perf_counter() - start, size)


def _leave_with_parent() -> None:
    """End this process group when the run itself is killed, so that nothing writes on behind a resumed one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        if hasattr(os, "killpg"):
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os._exit(1)
