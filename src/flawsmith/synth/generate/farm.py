"""Workers on a Ray cluster, or on this machine through Ray. Items come back as bytes; the driver stores them."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flawsmith.core.errors import ConfigError, FlawsmithError, missing_package
from flawsmith.synth.generate.job import Item, Job, Limits, Outcome
from flawsmith.synth.generate.local import POLL_SECONDS, attempt, memory_mb
from flawsmith.synth.generate.supervise import News, Ready, Stopped, Struck, Worker


@contextmanager
def ray_site(
    job: Job, save: Callable[[Item], int], workers: int, limits: Limits, address: str = ""
) -> Iterator["RaySite"]:
    """A cluster by its `address` ("auto", "host:6379", "ray://host:10001"), or with none a local one of `workers`.

    Raises `EnvironmentFault` where Ray is not installed, `ConfigError` where no cluster answers at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of its coming default otherwise
    try:
        import ray
    except ModuleNotFoundError:
        raise missing_package("ray", "farm") from None
    where: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConfigError(
            f"--address {address!r}: no Ray cluster answers there ({error}); start one: ray start --head"
        ) from error
    try:
        yield RaySite(ray, job, save, limits)
    finally:
        ray.shutdown()


class RaySite:
    """Actors in place of processes; the rest is as on one machine."""

    def __init__(self, ray: Any, job: Job, save: Callable[[Item], int], limits: Limits) -> None:
        self.ray, self.save = ray, save
        self.job, self.limits = ray.put(job), limits
        # An actor that dies takes no other item with it: each holds one item and is not restarted by Ray.
        self.remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Maker)

    def hire(self) -> "Actor":
        return Actor(self.ray, self.remote.remote(self.job, self.limits.memory_mb), self.save)

    def pause(self, workers: Sequence[Worker]) -> None:
        waiting = [worker.pending for worker in workers if isinstance(worker, Actor) and worker.pending is not None]
        if waiting:
            self.ray.wait(waiting, num_returns=1, timeout=POLL_SECONDS)


class Maker:
    """The worker's side: the job opened once, an item for each call."""

    def __init__(self, job: Job, most_mb: float) -> None:
        threading.Thread(target=_leave_when_swollen, args=(most_mb,), daemon=True).start()
        self.make = job.open()

    def started(self) -> bool:
        return True

    def item(self, index: int) -> tuple[Any, float]:
        start = time.perf_counter()
        return attempt(self.make, index), time.perf_counter() - start


class Actor:
    """The driver's side of one worker."""

    def __init__(self, ray: Any, handle: Any, save: Callable[[Item], int]) -> None:
        self.ray, self.handle, self.save = ray, handle, save
        self.ready, self.index = False, None
        self.pending: Any = handle.started.remote()
        self.since = time.monotonic()

    def give(self, index: int) -> None:
        self.index, self.since = index, time.monotonic()
        self.pending = self.handle.item.remote(index)

    def news(self, limits: Limits) -> News | None:
        if self.pending is None:
            return None
        if not self.ray.wait([self.pending], timeout=0)[0]:
            return self._late(limits)
        try:
            told = self.ray.get(self.pending)
        except self.ray.exceptions.RayActorError as error:
            return _struck_by(error)
        self.pending = None
        if not self.ready:
            self.ready = True
            return Ready()
        index, self.index = self.index, None
        return self._stored(index or 0, *told)

    def kill(self) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.handle)

    def _late(self, limits: Limits) -> Struck | None:
        most = limits.item_seconds if self.ready else limits.start_seconds
        return Struck(f"took longer than {most:g} s") if time.monotonic() - self.since > most else None

    def _stored(self, index: int, made: Any, seconds: float) -> News:
        return Outcome(index, seconds, self.save(made)) if isinstance(made, Item) else made


def _struck_by(error: Any) -> News:
    """A dead actor is a strike; a job that cannot be opened stops the run with its own error."""
    cause = getattr(error, "cause", None) or error.__cause__
    if isinstance(cause, FlawsmithError):
        return Stopped(cause)
    told = [line.strip() for line in str(cause or error).splitlines() if line.strip()]
    return Struck(f"its process ended: {told[-1] if told else type(error).__name__}")


def _leave_when_swollen(most_mb: float) -> None:
    while memory_mb(os.getpid()) <= most_mb:
        time.sleep(POLL_SECONDS)
    os._exit(137)
