"""A subprocess with a ceiling on memory and time, for reading files that nobody vouches for."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flawsmith.core.errors import EnvironmentFault
from flawsmith.part.errors import PartCorruptError, PartTooLargeError

OUT_OF_MEMORY = 86  # exit code of a child that met the ceiling and noticed
_MB = 1 << 20
_NO_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "failed to map segment", "out of memory")


@dataclass(frozen=True)
class Limits:
    """What reading one file may cost.

    file_mb:   size of the file, and of everything inside a zipped one
    memory_mb: address space of the reading process (POSIX only; Windows has no such ceiling)
    seconds:   wall-clock time
    triangles: of the whole part
    """

    file_mb: float = 512
    memory_mb: float = 6144
    seconds: float = 180
    triangles: int = 5_000_000


DEFAULT_LIMITS = Limits()


def limit_self(limits: Limits) -> None:
    """Put the ceilings on this process, before it imports or reads anything of size."""
    if os.name != "posix":
        return
    import resource

    ceilings = {
        resource.RLIMIT_AS: limits.memory_mb * _MB,
        resource.RLIMIT_FSIZE: limits.memory_mb * _MB,
        resource.RLIMIT_CPU: limits.seconds * 4 + 10,  # for the case that the parent is gone
        resource.RLIMIT_CORE: 0,
    }
    for kind, wanted in ceilings.items():
        hard = resource.getrlimit(kind)[1]
        ceiling = int(wanted) if hard == resource.RLIM_INFINITY else min(int(wanted), hard)
        resource.setrlimit(kind, (ceiling, hard))


def run_limited(arguments: Sequence[str], limits: Limits, folder: Path, what: str) -> None:
    """Run `python ARGUMENTS` and return when it ended well; the child is to call `limit_self(limits)` first.

    Raises `PartTooLargeError` for time and memory, `PartCorruptError` for a crash or an exception; both name `what`.
    """
    with (folder / "stderr").open("wb") as stderr:
        try:
            done = subprocess.run(
                [sys.executable, *arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                timeout=limits.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PartTooLargeError(
                f"{what}: reading took longer than {limits.seconds:g} s; simplify the part, or allow more (--seconds)"
            ) from None
        except OSError as error:
            raise EnvironmentFault(f"the reading process cannot be started: {error}") from error
    if done.returncode:
        raise _failure(done.returncode, _last_line(folder / "stderr"), limits, what)


def _failure(code: int, said: str, limits: Limits, what: str) -> PartTooLargeError | PartCorruptError:
    if code == OUT_OF_MEMORY or any(word in said for word in _NO_MEMORY):
        return PartTooLargeError(
            f"{what}: reading needs more than {limits.memory_mb:g} MB; simplify the part, or allow more (--memory-mb)"
        )
    if code < 0:
        return PartCorruptError(
            f"{what}: the reader crashed ({_signal_name(-code)}), so the file is damaged or not what its name says; "
            "open it in a CAD program and export it again"
        )
    return PartCorruptError(
        f"{what}: cannot be read ({said or f'exit code {code}'}); open it in a CAD program and export it again"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path) -> str:
    """The exception of a traceback; at most 300 characters of it."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - 4096, 0))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
