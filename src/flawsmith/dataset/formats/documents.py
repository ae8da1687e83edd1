"""Label files from strangers: JSON, XML and text read with a size cap, a shape check and named errors."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree
from xml.parsers import expat

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from flawsmith.core.errors import DataError

MAX_JSON_BYTES = 512 * 2**20
MAX_TEXT_BYTES = 16 * 2**20
_SHOWN = 3

T = TypeVar("T")


class Record(BaseModel):
    """Part of a label file: keys of no interest are ignored, numbers are finite."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


def read_json_as(kind: type[T], path: Path) -> T:
    """A JSON file as `kind`. Raises `DataError` naming the file and the first entries that do not fit."""
    return parse(kind, load_json(path), str(path))


def parse(kind: type[T], value: Any, where: str) -> T:
    """`value` as `kind`. Raises `DataError` naming `where` and the first entries that do not fit."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        raise DataError(f"{where}: {'; '.join(lines[:_SHOWN])}{more}; correct or export the file again") from None


def load_json(path: Path) -> Any:
    """Raises `DataError` for a file that is too large, too deep or no JSON."""
    try:
        return json.loads(_read(path, MAX_JSON_BYTES))
    except RecursionError:
        raise DataError(f"{path}: nested too deep to be a label file") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise DataError(f"{path} cannot be read as JSON ({error}); export the file again") from None


@lru_cache(maxsize=256)
def _keys(path: Path, _stamp: int) -> frozenset[str] | None:
    value = load_json(path)
    if isinstance(value, list):
        value = value[0] if value else {}
        return frozenset(["[]", *(value if isinstance(value, dict) else ())])
    return frozenset(value) if isinstance(value, dict) else None


def json_keys(path: Path) -> frozenset[str]:
    """The keys of a JSON object, or "[]" and those of the first object of a list; empty when it cannot be read.

    For recognising a format only: what cannot be read is named when the format is read.
    """
    try:
        return _keys(path, path.stat().st_mtime_ns) or frozenset()
    except (DataError, OSError):
        return frozenset()


def json_files(src: Path, limit: int | None = None) -> list[Path]:
    """JSON files under `src`, sorted, those nearest the top first; hidden ones are left out."""
    files = [p for p in src.rglob("*.json") if not any(part.startswith(".") for part in p.relative_to(src).parts)]
    return sorted(files, key=lambda p: (len(p.parts), p))[:limit]


def read_xml(path: Path) -> ElementTree.Element:
    """The root element. Raises `DataError` for a document type (the door of entity attacks) and for broken XML."""
    data = _read(path, MAX_TEXT_BYTES)

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: XML with a DOCTYPE is not read; remove it")

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as XML ({error}); export the file again") from None


def read_text(path: Path) -> str:
    """UTF-8 text. Raises `DataError` when it is too large or no text."""
    try:
        return _read(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise DataError(f"{path} is larger than {limit >> 20} MiB, too large for a label file; split it")
    return data
