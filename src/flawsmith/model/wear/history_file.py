"""Readings of inserts in a CSV file that people can read: `insert,pass,vb_mm`, one line a reading."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.files import write_atomic
from flawsmith.model.wear.history import WearHistory, WearReading

COLUMNS = ("insert", "pass", "vb_mm")
_DIGITS = 5  # of a millimetre: 10 nm, less than any camera tells
Row = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class _Known:
    line: int
    vb_mm: float


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """Line number and values of each line of a CSV file with a header that names `columns`.

    Raises `DataError` naming the file and the line for anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        if sorted(header) != sorted(columns):
            raise DataError(f"{path}, line 1: the columns are {header}; wanted {', '.join(columns)}")
        for values in lines:
            if len(values) != len(header):
                raise DataError(f"{path}, line {lines.line_num}: {len(values)} values; wanted {', '.join(header)}")
            row = {name: value.strip() for name, value in zip(header, values, strict=True)}
            if not all(row.values()):
                raise DataError(f"{path}, line {lines.line_num}: a value is empty; wanted {', '.join(header)}")
            rows.append((lines.line_num, row))
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: {error}; mend or remove the line") from error
    return rows


def amount_of(path: Path, line: int, name: str, text: str) -> float:
    """A value as a number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{path}, line {line}: {name} is {text!r}; wanted a number of 0 or more")
    return value


def read_history(path: Path) -> dict[str, WearHistory]:
    """Each insert's history, its readings sorted by pass. A file that does not exist yet is empty.

    Raises `DataError` naming the line where it is damaged, or gives one pass of an insert twice.
    """
    return _histories(_known(path)) if path.exists() else {}


def append_history(path: Path, readings: Mapping[str, Sequence[WearReading]]) -> int:
    """Add readings by insert; how many were new. The file is replaced as a whole: old or new, never a half.

    A reading that stands there already is passed over, so the same photographs may be measured again. Two programs
    that append at the same moment may lose one's readings: give each its own file. Raises `DataError` where another VB
    stands there for the pass, or the file is damaged.
    """
    known = _known(path) if path.exists() else {}
    lines = []
    for insert, several in readings.items():
        for reading in several:
            vb_mm = round(reading.vb_mm, _DIGITS)
            earlier = known.get((insert, reading.passes))
            if earlier is None:
                known[insert, reading.passes] = _Known(0, vb_mm)
                lines.append((insert, f"{reading.passes:g}", f"{vb_mm:.{_DIGITS}f}"))
            elif not math.isclose(earlier.vb_mm, vb_mm, abs_tol=10**-_DIGITS):
                raise DataError(
                    f"{path}, line {earlier.line}: pass {reading.passes:g} of insert {insert!r} is {earlier.vb_mm:g} "
                    f"mm, now {vb_mm:g} mm: remove that line, or rename the insert when it was changed or turned"
                )
    if lines:
        write_atomic(path, (_kept(path) + _csv(lines)).encode())
    return len(lines)


def joined(history: WearHistory | None, insert: str, readings: Sequence[WearReading]) -> WearHistory:
    """A history with readings added in their place; of a pass that it has already, it keeps its own."""
    by_pass = {r.passes: r for r in readings} | {r.passes: r for r in (history.readings if history else ())}
    return WearHistory(insert, tuple(by_pass[passes] for passes in sorted(by_pass)))


def _known(path: Path) -> dict[tuple[str, float], _Known]:
    known: dict[tuple[str, float], _Known] = {}
    for line, row in read_rows(path, COLUMNS):
        passes, vb_mm = (amount_of(path, line, name, row[name]) for name in ("pass", "vb_mm"))
        key = (row["insert"], passes)
        if key in known:
            raise DataError(
                f"{path}, line {line}: pass {passes:g} of insert {key[0]!r} stands in line {known[key].line} already: "
                "remove one, or rename the insert when it was changed or turned"
            )
        known[key] = _Known(line, vb_mm)
    return known


def _histories(known: dict[tuple[str, float], _Known]) -> dict[str, WearHistory]:
    by_insert: dict[str, list[WearReading]] = {}
    for (insert, passes), reading in sorted(known.items()):
        by_insert.setdefault(insert, []).append(WearReading(passes, reading.vb_mm))
    return {insert: WearHistory(insert, tuple(several)) for insert, several in by_insert.items()}


def _kept(path: Path) -> str:
    """What the file holds, written anew: without a line break at its end nothing could be appended."""
    if not path.exists():
        return _csv([COLUMNS])
    rows = [tuple(row[name] for name in COLUMNS) for _, row in read_rows(path, COLUMNS)]
    return _csv([COLUMNS, *rows])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="\n").writerows(rows)
    return sink.getvalue()
