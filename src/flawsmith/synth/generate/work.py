"""The work folder of a run: items appear in it whole or not at all, so that it can be gone on with after any end."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flawsmith.core.errors import ConfigError, DataError, writing
from flawsmith.core.files import read_json, sha256_of, write_json

JOB = "job.json"
ROWS = ".rows"
LOCK = ".lock"


@dataclass(frozen=True)
class Work:
    """Files of an item are written first, its row last: a row says that its files are complete and what they hold."""

    root: Path

    @classmethod
    def beside(cls, out: Path) -> "Work":
        """Where a run into `out` works: on the same disk, so that the end is one rename."""
        out = out.resolve()
        return cls(out.with_name(f".{out.name}.generating"))

    def save(self, item: Any) -> int:
        """Store an item and give its size in bytes. Raises `EnvironmentFault` on a full disk."""
        files = {}
        for name, data in item.files.items():
            files[name] = [len(data), sha256_of(data)]
            self._put(self.root / name, data)
        record = json.dumps({"files": files, "row": item.row}, allow_nan=False).encode()
        self._put(self._row(item.index), record)
        return sum(map(len, item.files.values())) + len(record)

    def row(self, index: int) -> dict[str, Any] | None:
        """An item's row, or None where it is not there or its files are not those that were written."""
        path = self._row(index)
        if not path.is_file():
            return None
        try:
            record = read_json(path)
        except DataError:
            return None  # cut short by a power failure: it is made again
        good = all(self._holds(name, *told) for name, told in record["files"].items())
        return record["row"] if good else None

    def rows(self, indices: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The rows of items known to be there, without another look at their files."""
        for index in indices:
            yield read_json(self._row(index))["row"]

    def clear(self) -> None:
        """Remove what only the work needed."""
        shutil.rmtree(self.root / ROWS)
        for name in (JOB, LOCK):
            (self.root / name).unlink(missing_ok=True)

    def _holds(self, name: str, size: int, sha256: str) -> bool:
        path = self.root / name
        return path.is_file() and path.stat().st_size == size and sha256_of(path) == sha256

    def _row(self, index: int) -> Path:
        return self.root / ROWS / f"{index // 1000:04d}" / f"{index:06d}.json"

    def _put(self, path: Path, data: bytes) -> None:
        """Whole or not at all for every reader. Not synced: what a power failure spoils is found by its hash."""
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            try:
                partial.write_bytes(data)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)


@contextmanager
def open_work(out: Path, job: dict[str, Any], resume: bool, overwrite: bool) -> Iterator[Work]:
    """The work folder of this job, new or gone on with, and nobody else's meanwhile.

    job: what decides the bytes of an item. Raises `ConfigError` for an unfinished run that is neither resumed nor
    given up, or that is of another job.
    """
    work = Work.beside(out)
    path = work.root / JOB
    with writing(work.root):
        work.root.mkdir(parents=True, exist_ok=True)
    with _alone(work.root):
        if overwrite and not resume:
            _empty(work.root)
        elif any(p.name != LOCK for p in work.root.iterdir()):
            _check_same(path, job, resume)
        write_json(path, job)
        try:
            yield work
        finally:
            if work.root.exists() and not (work.root / ROWS).exists():
                shutil.rmtree(work.root, ignore_errors=True)  # nothing was made: nothing to go on with


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One run at a time in a work folder; the lock ends with the process, however that ends."""
    with writing(root):
        handle = os.open(root / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        if os.name != "nt":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another run is at work in {root}: wait for it, or choose another --out") from None
        yield
    finally:
        os.close(handle)


def _empty(root: Path) -> None:
    for path in root.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check_same(path: Path, job: dict[str, Any], resume: bool) -> None:
    """Refuse to mix two jobs in one folder."""
    if not resume:
        raise ConfigError(f"an unfinished run lies in {path.parent}: --resume goes on with it, --overwrite gives it up")
    begun = read_json(path) if path.exists() else job
    for key, value in job.items():
        if begun.get(key) != value:
            raise ConfigError(
                f"the unfinished run in {path.parent} has {key} {_brief(begun.get(key))}, this one {_brief(value)}: "
                "give the same again, or --overwrite to give it up"
            )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
