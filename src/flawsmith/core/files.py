"""Writing so that a reader sees the old file or the new one, never a half."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flawsmith.core.errors import ConfigError, DataError, writing

MARK = ".flawsmith"


def cache_folder() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/flawsmith or ~/.cache/flawsmith."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flawsmith"


def write_atomic(path: Path, data: bytes) -> None:
    """Write to a temporary sibling, fsync, rename over `path`, fsync the folder."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial-{uuid.uuid4().hex[:8]}")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """`value` as readable JSON, atomically; NaN and infinity are refused, since JSON has neither."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Raise `DataError` naming the file when it is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error


@contextmanager
def staged_folder(out: Path, overwrite: bool = False, kind: str = "folder") -> Iterator[Path]:
    """A sibling folder to fill; it becomes `out` when the block ends well and vanishes when it does not.

    Raises `ConfigError` when `out` is in the way. `overwrite` replaces only a folder of the same `kind` ("data set",
    "run" …), known by its mark: a slip in a path must not cost a home folder, or a report the model. The old folder is
    kept until the new one is complete.
    """
    out = out.resolve()
    check_free(out, overwrite, kind)
    stage = out.with_name(f".{out.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        with writing(out):
            stage.mkdir(parents=True)
            yield stage
            publish_folder(stage, out, overwrite, kind)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def publish_folder(stage: Path, out: Path, overwrite: bool = False, kind: str = "folder") -> None:
    """Make the finished folder `stage`, a sibling of `out`, to `out` in one step. Raises as `staged_folder`."""
    check_free(out, overwrite, kind)
    (stage / MARK).write_text(_mark(kind))
    _sync_folder(stage)
    _swap(stage, out)


def _mark(kind: str) -> str:
    return f"{kind}, written by flawsmith: --overwrite replaces it as a whole\n"


def check_free(out: Path, overwrite: bool, kind: str = "folder") -> None:
    """Raise `ConfigError` unless `out` is absent, empty, or, with `overwrite`, a folder of this kind of flawsmith's."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"{out} exists and is not empty: choose another folder or add --overwrite")
    if not (out / MARK).is_file():
        raise ConfigError(
            f"{out} was not written by flawsmith (it has no {MARK}): remove it yourself or choose another"
        )
    held = (out / MARK).read_text(encoding="utf-8", errors="replace").partition(",")[0]
    if held != kind:
        raise ConfigError(f"{out} holds a {held}, not a {kind}, so --overwrite leaves it alone: choose another folder")


def _swap(stage: Path, out: Path) -> None:
    if out.exists():
        old = out.with_name(f".{out.name}.partial-old-{uuid.uuid4().hex[:8]}")
        out.rename(old)
        try:
            stage.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    else:
        stage.rename(out)
    _sync_folder(out.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and syncs names with the file
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(data: bytes | Path) -> str:
    """Hex SHA-256 of bytes or of a file's content."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(data).hexdigest()
